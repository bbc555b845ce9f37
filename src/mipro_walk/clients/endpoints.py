"""Where a model answers and with which key: provider names and environment in, a checked endpoint out.

A key is bound to a host: it is only ever sent to its provider, to the address that the same environment names for it,
to a host that the person has confirmed for it, or to this machine if it was named for that.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from mipro_walk.clients.http import require_http_url
from mipro_walk.errors import ConfigError, KeyMissingError
from mipro_walk.loopback import is_loopback

DEFAULT_URLS = {"openai": "https://api.openai.com/v1", "groq": "https://api.groq.com/openai/v1"}
CUSTOM_URL_VARIABLE = "MIPRO_WALK_BASE_URL"
CUSTOM_KEY_VARIABLE = "MIPRO_WALK_API_KEY"
METADATA_NAMES = ("metadata", "metadata.google.internal", "instance-data")
_ANY_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)
_USABLE_KEY = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible server and the model to ask there. Checked when it is made.

    Attributes:
        provider: ``openai``, ``groq``, ``custom`` or ``local``; decides the price list.
        base_url: the address in front of ``/chat/completions``, without a trailing slash.
        api_key: sent as bearer token; ``None`` sends none.
        sends_cost: whether ``usage.cost`` in an answer is the price in US dollars.
        wants_max_tokens: whether an answer's length is limited by the older ``max_tokens``.

    Raises:
        ConfigError: the address cannot be asked safely.
        KeyMissingError: the key has characters that no header may have.
    """

    provider: str
    base_url: str
    model: str
    api_key: SecretStr | None = None
    sends_cost: bool = False
    wants_max_tokens: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", _require_safe_url(self.base_url))
        if self.api_key is not None and not _USABLE_KEY.fullmatch(self.api_key.get_secret_value()):
            raise KeyMissingError(
                f"The key for {self.provider} holds spaces, line ends or characters beyond ASCII.",
                "Copy the key again, without quotes.",
            )

    @property
    def is_local_machine(self) -> bool:
        """Whether the server is on this machine."""
        return is_loopback(self.base_url)


MaySend = Callable[[str, str], bool]
"""Whether a person has confirmed that this address may get the key in this variable."""


def confirms_nothing(_url: str, _variable: str) -> bool:
    """Nobody has confirmed anything."""
    return False


def endpoint_for(
    provider: str,
    model: str,
    environ: Mapping[str, str],
    base_url: str | None = None,
    local: tuple[str, SecretStr | None] | None = None,
    *,
    key_variable: str | None = None,
    may_send: MaySend = confirms_nothing,
) -> Endpoint:
    """Return where ``provider`` answers.

    Args:
        provider: ``openai`` or ``groq`` (key and address from ``environ``), ``custom`` or ``local``.
        model: the model's name there.
        environ: ``OPENAI_API_KEY``, ``OPENAI_BASE_URL``, ``GROQ_API_KEY``, ``GROQ_BASE_URL``,
            ``MIPRO_WALK_BASE_URL``, ``MIPRO_WALK_API_KEY``.
        base_url: address of a custom server; default ``MIPRO_WALK_BASE_URL``.
        local: address and key of the local model's server.
        key_variable: the variable that holds the key, instead of the provider's own.
        may_send: what the person has confirmed.

    Raises:
        KeyMissingError: a hosted provider's key is not set.
        ConfigError: the provider is unknown, or the address is missing or unsafe.
    """
    if provider in DEFAULT_URLS:
        return _hosted(provider, model, environ, key_variable, may_send)
    if provider == "custom":
        return _custom(model, environ, base_url, key_variable, may_send)
    if provider == "local" and local is not None:
        return Endpoint("local", local[0], model, local[1])
    raise ConfigError(f"Provider {provider!r} cannot be asked here.", "Use openai, groq, custom or local.")


def _hosted(
    provider: str, model: str, environ: Mapping[str, str], key_variable: str | None, may_send: MaySend
) -> Endpoint:
    variable = key_variable or f"{provider.upper()}_API_KEY"
    url = environ.get(f"{provider.upper()}_BASE_URL", "").strip() or DEFAULT_URLS[provider]
    if not variable.startswith(f"{provider.upper()}_") and not may_send(url, variable):
        raise _not_bound(variable, url)
    key = environ.get(variable, "").strip()
    if not key:
        raise KeyMissingError(
            f"{variable} is not set, and {model} is asked at {provider}.",
            f'Set {variable}, or use provider = "local", which needs no key.',
        )
    return Endpoint(provider, url, model, SecretStr(key))


def _custom(
    model: str, environ: Mapping[str, str], base_url: str | None, key_variable: str | None, may_send: MaySend
) -> Endpoint:
    trusted = environ.get(CUSTOM_URL_VARIABLE, "").strip().rstrip("/")
    url = (base_url or trusted).rstrip("/")
    if not url:
        raise ConfigError("A custom model endpoint needs an address.", f"Set base_url, or {CUSTOM_URL_VARIABLE}.")
    variable = key_variable or CUSTOM_KEY_VARIABLE
    key = environ.get(variable, "").strip()
    may_see_key = may_send(url, variable) or (url == trusted and variable == CUSTOM_KEY_VARIABLE)
    if key_variable is not None:
        may_see_key = may_see_key or is_loopback(url)  # it was named for this machine
        if not may_see_key:
            raise _not_bound(variable, url)
        if not key:
            raise KeyMissingError(
                f"{variable} is not set, and {model} is asked at {url} with the key in it.",
                f"Set {variable} (and restart a backend that runs: mipro-walk stop), or take out api_key_env.",
            )
    return Endpoint("custom", url, model, SecretStr(key) if key and may_see_key else None, True, True)


def _not_bound(variable: str, url: str) -> ConfigError:
    return ConfigError(
        f"The key in {variable} is not bound to {url}, so it is not sent there.",
        f"If you trust it: mipro-walk models trust {url} --variable {variable}",
    )


def _require_safe_url(url: str) -> str:
    """Return ``url`` without a trailing slash if it may be asked: https, or http on this machine.

    Names are not looked up: beyond this machine the certificate has to match, so a name that resolves to an inner
    address reaches nothing there.
    """
    if any(character <= " " or character == "\\" or character > "~" for character in url):
        raise ConfigError("The model's base URL holds spaces or characters beyond ASCII.", "Write the bare URL.")
    try:
        clean = require_http_url(url, "The model's base URL")
        parts = urlsplit(clean)
        _ = parts.port
    except ValueError as exc:
        raise ConfigError(f"The model's base URL {url!r} is no URL ({exc}).", "Write it as https://HOST/v1.") from exc
    host = (parts.hostname or "").rstrip(".")
    if is_loopback(clean):
        return clean
    if parts.scheme != "https":
        raise ConfigError(
            f"The model's base URL {clean!r} would send the prompt unencrypted.",
            "Use https; http is for this machine only (http://127.0.0.1:PORT/v1).",
        )
    if host in METADATA_NAMES or host == "localhost" or host.endswith(".localhost") or not _is_askable(host):
        raise ConfigError(f"The model's base URL {clean!r} points to an address that serves no model.", "Correct it.")
    return clean


def _is_askable(host: str) -> bool:
    """Whether ``host`` is a name or a plain address outside the ranges of one link and of cloud metadata."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # 127.1, 0x7f.1 and 2130706433 are addresses to the resolver though not to ``ipaddress``.
        return not _ANY_NUMBER.fullmatch(host.rpartition(".")[2])
    inner = _embedded_ipv4(address) or address
    return not (
        inner.is_link_local
        or inner.is_unspecified
        or inner.is_multicast
        or inner.is_reserved
        or inner.is_loopback
        or inner in ipaddress.ip_network("100.64.0.0/10")
        or inner == ipaddress.ip_address("fd00:ec2::254")
    )


def _embedded_ipv4(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address inside a mapped, 6to4, NAT64 or compatible IPv6 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    high, low = int(address) >> 32, int(address) & 0xFFFFFFFF
    if high == 0x64FF9B << 64 or (high == 0 and low > 1):
        return ipaddress.IPv4Address(low)
    return None
