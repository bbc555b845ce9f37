"""Asks the policy model: one chat completion at `inference_url`, nothing retried, nothing guessed.

A failure to get an answer is never a score. It is raised as `UpstreamFailure` and becomes an HTTP error, so
that an outage of the model cannot look like a bad prompt. Whoever calls the app decides about retries.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import httpx2
import openai

from .contract import ModelReply, ToolCall

DEFAULT_DEADLINE_SECONDS: Final = 60.0
MAX_DEADLINE_SECONDS: Final = 600.0
MAX_REPLY_BYTES: Final = 4 * 1024 * 1024
MAX_ECHO_CHARACTERS: Final = 200
# The caller's side of the path holds the provider key; this app must not know one.
DUMMY_PROVIDER_KEY: Final = "task-app"
# uvicorn and many proxies close an idle connection after 5 s; giving it up earlier avoids losing a request to that.
_IDLE_CONNECTION_SECONDS: Final = 2.0
_SENT_HEADERS: Final = (
    "Host",
    "Connection",
    "Accept",
    "Content-Type",
    "Content-Length",
    "Transfer-Encoding",
    "User-Agent",
    "X-API-Key",
)
_RETRY_AFTER: Final = re.compile(r"[ -~]{1,64}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_BAD_URL: Final = re.compile(r"[\x00-\x20\x7f\\]")


class BadInferenceUrl(ValueError):
    """`inference_url` is missing or not a plain http(s) address."""


class UpstreamFailure(Exception):
    """The model could not be asked or gave no usable completion.

    Attributes:
        status: The HTTP status this app should answer.
        upstream_status: The status of the model endpoint, if it answered.
        retry_after: Its Retry-After header, if it is a clean one.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        upstream_status: int | None = None,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.upstream_status = upstream_status
        self.retry_after = retry_after


class _ReplyTooLarge(httpx2.RequestError):
    """The reply went over `MAX_REPLY_BYTES` while it was read."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request to the model.

    Attributes:
        url: Completions address, as returned by `completions_url`.
        body: Chat completion body.
        deadline: Total time for the call, in seconds.
    """

    url: str
    body: dict[str, Any]
    deadline: float


@dataclass(frozen=True)
class PolicyClient:
    """Shares one connection pool between all rollouts of an app. Close it with `aclose`."""

    environment_key: str = field(repr=False)
    _client: openai.AsyncOpenAI = field(init=False, repr=False)

    def __post_init__(self) -> None:
        http_client = httpx2.AsyncClient(
            transport=_GuardedTransport(),
            follow_redirects=False,
            trust_env=False,
            timeout=None,
        )
        client = openai.AsyncOpenAI(
            api_key=DUMMY_PROVIDER_KEY,
            base_url="http://127.0.0.1",  # every call names its own absolute address
            http_client=http_client,
            max_retries=0,
            timeout=None,
        )
        object.__setattr__(self, "_client", client)

    async def ask(self, question: Question) -> ModelReply:
        """Return the model's reply.

        Raises:
            UpstreamFailure: for every way of not getting a completion.
        """
        try:
            async with asyncio.timeout(question.deadline):
                response = await self._client.post(
                    question.url,
                    cast_to=httpx2.Response,
                    body=question.body,
                    options={
                        "headers": {"X-API-Key": self.environment_key},
                        "max_retries": 0,
                        "follow_redirects": False,
                    },
                )
        except (TimeoutError, openai.APITimeoutError):
            raise UpstreamFailure(
                504, "upstream_timeout", f"The model did not answer within {question.deadline:g} s."
            ) from None
        except openai.APIStatusError as error:
            raise self._status_failure(error.response) from None
        except openai.APIConnectionError as error:
            raise _connection_failure(error) from None
        except (httpx2.InvalidURL, UnicodeError, ValueError) as error:
            raise _garbage(f"The model endpoint could not be used ({type(error).__name__}).") from None
        return read_completion(response)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.close()

    def _status_failure(self, response: httpx2.Response) -> UpstreamFailure:
        status = response.status_code
        message = f"The model endpoint answered {status}."
        if echo := self._echo(response):
            message = f"The model endpoint answered {status}: {echo}"
        retry_after = response.headers.get("retry-after", "")
        return UpstreamFailure(
            status if 400 <= status <= 599 else 502,
            "upstream_error" if status >= 400 else "upstream_redirect",
            message,
            upstream_status=status,
            retry_after=retry_after if _RETRY_AFTER.fullmatch(retry_after) else None,
        )

    def _echo(self, response: httpx2.Response) -> str:
        """Return the start of an error body on one line, with our key removed should it be quoted back."""
        text = response.text
        try:
            error = json.loads(text)["error"]
            text = str(error["message"] if isinstance(error, dict) else error)
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        text = clean_text(text).replace(self.environment_key, "***")
        return _CONTROL.sub(" ", text).strip()[:MAX_ECHO_CHARACTERS]


def completions_url(inference_url: str | None) -> str:
    """Return `inference_url` with `/chat/completions` behind its path and its query string kept behind that.

    Raises:
        BadInferenceUrl: if it is missing, not http(s), or holds credentials or control characters.
    """
    if not inference_url:
        raise BadInferenceUrl("policy.config.inference_url is missing. Give the address of the model endpoint.")
    try:
        inference_url.encode("ascii")
        parts = urlsplit(inference_url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or _BAD_URL.search(inference_url) or "@" in parts.netloc or parts.fragment:
        raise BadInferenceUrl(
            "policy.config.inference_url must be a plain http:// or https:// address without user name, "
            "fragment or spaces."
        )
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path += "/chat/completions"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def read_completion(response: httpx2.Response) -> ModelReply:
    """Read an OpenAI chat completion from a 2xx response, trusting nothing in it.

    Raises:
        UpstreamFailure: (502) if it is not one, or has no choice.
    """
    status = response.status_code
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        kind = _CONTROL.sub("", response.headers.get("content-type", "no content type"))[:60]
        raise _garbage(f"The model endpoint sent no JSON ({kind}).", status) from None
    if not isinstance(body, dict) or not isinstance(body.get("choices"), list):
        raise _garbage("The model endpoint sent JSON that is no chat completion.", status)
    if not body["choices"]:
        raise _garbage("The model endpoint sent a completion without choices.", status)
    choice = body["choices"][0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise _garbage("The model endpoint sent a choice without a message.", status)
    return ModelReply(_content(message.get("content")), _tool_calls(message.get("tool_calls")))


def clean_text(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 answer could carry."""
    return text.encode("utf-8", "replace").decode() if any("\ud800" <= c <= "\udfff" for c in text) else text


def _content(value: object) -> str:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):  # content parts, as some servers answer
        texts = (part.get("text") for part in value if isinstance(part, dict))
        return clean_text("".join(text for text in texts if isinstance(text, str)))
    return ""


def _tool_calls(value: object) -> tuple[ToolCall, ...]:
    calls = []
    for item in value if isinstance(value, list) else []:
        function = item.get("function") if isinstance(item, dict) else None
        if not isinstance(function, dict):
            continue
        name, arguments = function.get("name"), function.get("arguments")
        if not isinstance(arguments, str):  # a few servers send the object itself
            arguments = json.dumps(arguments) if isinstance(arguments, dict) else ""
        calls.append(ToolCall(clean_text(name) if isinstance(name, str) else "", clean_text(arguments)))
    return tuple(calls)


def _connection_failure(error: openai.APIConnectionError) -> UpstreamFailure:
    cause = error.__cause__
    if isinstance(cause, _ReplyTooLarge):
        return _garbage(f"The model endpoint sent more than {MAX_REPLY_BYTES:,} bytes.")
    return UpstreamFailure(
        502, "upstream_unreachable", f"The model endpoint could not be reached ({type(cause).__name__})."
    )


def _garbage(message: str, upstream_status: int | None = None) -> UpstreamFailure:
    return UpstreamFailure(502, "upstream_garbage", message, upstream_status=upstream_status)


class _GuardedTransport(httpx2.AsyncHTTPTransport):
    """Sends only the headers this app means to send, and stops reading a reply at `MAX_REPLY_BYTES`.

    The SDK adds headers from OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS, which could even hold
    a provider key. Compressed replies are refused: they can be far larger than what was counted on the wire.
    """

    def __init__(self) -> None:
        limits = httpx2.Limits(
            max_connections=256, max_keepalive_connections=64, keepalive_expiry=_IDLE_CONNECTION_SECONDS
        )
        super().__init__(trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        kept = {name: request.headers[name] for name in _SENT_HEADERS if name in request.headers}
        request.headers = httpx2.Headers(
            {**kept, "Authorization": f"Bearer {DUMMY_PROVIDER_KEY}", "Accept-Encoding": "identity"}
        )
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.DecodingError("compressed reply", request=request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _CappedStream(response.stream)
        return response


@dataclass(frozen=True, slots=True)
class _CappedStream(httpx2.AsyncByteStream):
    inner: httpx2.AsyncByteStream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        async for chunk in self.inner:
            total += len(chunk)
            if total > MAX_REPLY_BYTES:
                raise _ReplyTooLarge("reply too large")
            yield chunk

    async def aclose(self) -> None:
        await self.inner.aclose()
