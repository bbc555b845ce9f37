"""The connection to one endpoint: TLS, proxies, one bounded answer, and what a failure of it means."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping

import httpx

from mipro_walk.clients.endpoints import Endpoint
from mipro_walk.clients.http import MAX_ANSWER_BYTES
from mipro_walk.clients.replies import CallFailed, FatalCallError, Reply
from mipro_walk.errors import ConfigError

CONNECT_SECONDS = 10.0
IDLE_CONNECTION_SECONDS = 2.0
"""Servers drop idle connections after 5 s and more; giving them up earlier never loses a request to that."""
PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
NO_TLS_REASONS = ("WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION")


class Transport:
    """Posts requests to the chat completions of one endpoint."""

    def __init__(self, endpoint: Endpoint, *, max_concurrent: int, extra_headers: Mapping[str, str]) -> None:
        """Prepare to connect; nothing is sent.

        Raises:
            ConfigError: a proxy or certificate variable of the environment cannot be used.
        """
        self._endpoint = endpoint
        self._url = f"{endpoint.base_url}/chat/completions"
        self._client = _make_client(endpoint, max_concurrent, extra_headers)

    async def post(self, content: bytes) -> Reply:
        """Send one request and return the answer, whatever its status.

        Raises:
            CallFailed: the answer is compressed or too large.
            Exception: an error of httpx or the system; :meth:`failure` tells what it means.
        """
        async with self._client.stream("POST", self._url, content=content) as response:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                # Not asked for, and far larger than what is counted on the wire.
                raise CallFailed("garbage", response.status_code, "the endpoint sent a compressed answer", True)
            data = bytearray()
            async for chunk in response.aiter_raw():
                data += chunk
                if len(data) > MAX_ANSWER_BYTES:
                    reason = f"the endpoint sent more than {MAX_ANSWER_BYTES:,} bytes"
                    raise CallFailed("garbage", response.status_code, reason, True)
            return Reply(response.status_code, bytes(data), response.headers.get("retry-after"))

    def failure(self, exc: Exception) -> CallFailed:
        """Return what a transport error means. Its text is left out: it may quote a header."""
        name = type(exc).__name__
        for cause in _causes(exc):
            if isinstance(cause, ssl.SSLCertVerificationError):
                set_variables = _set_variables(CERTIFICATE_VARIABLES)
                return FatalCallError("tls", None, f"the certificate is not trusted ({name}){set_variables}")
            if isinstance(cause, ssl.SSLError) and (cause.reason or "") in NO_TLS_REASONS:
                return FatalCallError("tls", None, f"the endpoint speaks no usable TLS ({cause.reason})")
        proxies = "" if self._endpoint.is_local_machine else _set_variables(PROXY_VARIABLES)
        return CallFailed("connection", None, f"no connection to {self._endpoint.provider} ({name}){proxies}", True)

    async def close(self) -> None:
        """Close the connections; requests under way fail."""
        await self._client.aclose()


def _make_client(endpoint: Endpoint, max_concurrent: int, extra_headers: Mapping[str, str]) -> httpx.AsyncClient:
    headers = {**extra_headers}
    headers |= {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
    headers["User-Agent"] = "mipro-walk"
    if endpoint.api_key is not None:
        headers["Authorization"] = f"Bearer {endpoint.api_key.get_secret_value()}"
    try:
        return httpx.AsyncClient(
            headers=headers,
            # asyncio.timeout bounds an attempt as a whole; a limit per read would let a drip of bytes go on for ever.
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=not endpoint.is_local_machine,
            verify=_tls_context(endpoint),
            limits=httpx.Limits(max_connections=max(1, max_concurrent), keepalive_expiry=IDLE_CONNECTION_SECONDS),
        )
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as exc:
        variables = _set_variables((*PROXY_VARIABLES, *CERTIFICATE_VARIABLES))
        raise ConfigError(
            f"The environment's proxy or certificate settings cannot be used ({type(exc).__name__}){variables}",
            "Correct or unset these variables.",
        ) from exc


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    if endpoint.base_url.startswith("https://"):
        return httpx.create_ssl_context(trust_env=not endpoint.is_local_machine)
    # Never used for a plain connection. It trusts nobody, and spares loading the certificates (20 ms).
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _causes(exc: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while exc is not None and exc not in found:
        found.append(exc)
        exc = exc.__cause__ or exc.__context__
    return found


def _set_variables(names: tuple[str, ...]) -> str:
    present = [name for name in names if os.environ.get(name)]
    return f"; set in the environment: {', '.join(present)}" if present else ""
