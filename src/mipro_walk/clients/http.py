"""What every HTTP client here shares: checks of URLs and settings that nothing in the environment can bend."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import httpx

from mipro_walk.errors import ConfigError
from mipro_walk.loopback import is_loopback

MAX_ANSWER_BYTES = 10_000_000


def require_http_url(url: str, what: str) -> str:
    """Return ``url`` without a trailing slash.

    Raises:
        ConfigError: it is not a plain http(s) URL, or carries credentials, a query or a fragment.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{what} {url!r} is not an http or https URL.", "Write it as http://127.0.0.1:PORT.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(f"{what} must not carry credentials, a query or a fragment.", "Write the bare URL.")
    return url.rstrip("/")


def make_client(base_url: str, *, timeout: float, headers: dict[str, str] | None = None) -> httpx.Client:
    """Return a client that follows no redirect and ignores proxies and netrc when it talks to this machine."""
    return httpx.Client(
        base_url=base_url,
        timeout=timeout,
        headers=headers,
        follow_redirects=False,
        trust_env=not is_loopback(base_url),
    )


def parse_json(response: httpx.Response) -> Any:
    """Return the body as JSON with finite numbers, or ``None`` if it is anything else."""
    if len(response.content) > MAX_ANSWER_BYTES:
        return None
    try:
        return json.loads(response.content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> float:
    raise ValueError(name)
