"""Which model endpoint a provider name means, and which key may go there: a key is bound to its host."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from mipro_walk.clients.http import is_loopback, require_http_url
from mipro_walk.errors import ConfigError, KeyMissingError

HOSTED = {
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL", "https://api.openai.com/v1"),
    "groq": ("GROQ_API_KEY", "GROQ_BASE_URL", "https://api.groq.com/openai/v1"),
}
CUSTOM_URL, CUSTOM_KEY = "MIPRO_WALK_BASE_URL", "MIPRO_WALK_API_KEY"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model at one OpenAI-compatible address."""

    provider: str
    base_url: str
    model: str
    api_key: SecretStr | None = None


def endpoint_for(provider: str, model: str, environ: Mapping[str, str], base_url: str | None = None) -> Endpoint:
    """Return the endpoint of a hosted or custom provider.

    Raises:
        KeyMissingError: the provider's key is not set.
        ConfigError: the address is unknown, unsafe, or one that no key may be sent to.
    """
    if provider in HOSTED:
        key_name, url_name, default = HOSTED[provider]
        key = environ.get(key_name, "")
        if not key:
            raise KeyMissingError(f"{key_name} is not set.", f'export {key_name}=…, or use provider = "local".')
        return Endpoint(provider, checked_url(environ.get(url_name) or default), model, SecretStr(key))
    if provider != "custom":
        raise ConfigError(f"Unknown provider {provider!r}.", "Use local, openai, groq or custom.")
    trusted = environ.get(CUSTOM_URL, "").rstrip("/")
    url = checked_url(base_url or trusted)
    if not is_loopback(url) and url != trusted:
        raise ConfigError(f"{url} is not confirmed as a model endpoint.", f"export {CUSTOM_URL}={url} to confirm it.")
    key = environ.get(CUSTOM_KEY, "")
    return Endpoint(provider, url, model, SecretStr(key) if key else None)


def checked_url(url: str) -> str:
    """Return a base URL: https, or http on this machine; never a link-local address.

    Raises:
        ConfigError: it is anything else.
    """
    checked = require_http_url(url, "model base URL")
    parts = urlsplit(checked)
    if parts.scheme == "http" and not is_loopback(checked):
        raise ConfigError(f"{checked} would send the key in clear.", "Use https, or http on 127.0.0.1.")
    try:
        address = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return checked
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_link_local or address.is_unspecified or address.is_multicast:
        raise ConfigError(f"{checked} is not an address of a model endpoint.", "Check the base URL.")
    return checked
