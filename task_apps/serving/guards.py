"""Who may talk to the app: the Host check (before routing) and the key check (before any body is read)."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from .replies import error_response

LOCAL_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
_MAX_KEYS_TRIED: Final = 16


class HostGuard:
    """Answers 421 unless there is exactly one Host header and it names this server.

    A web page can make a browser send requests to 127.0.0.1 under a host name of its own (DNS rebinding); the
    Host header then gives it away. The port, if present, must be the one the connection came in on.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self.app = app
        self.names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it."""
        if scope["type"] != "http" or self._known(scope):
            await self.app(scope, receive, send)
            return
        response = error_response(421, "misdirected", "This server does not serve that host name.")
        await response(scope, receive, send)

    def _known(self, scope: Scope) -> bool:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return False
        host = hosts[0].decode("latin-1").lower()
        server = scope.get("server")
        port = f":{server[1]}" if server and server[1] else ""
        return host in self.names or (port != "" and host.endswith(port) and host[: -len(port)] in self.names)


def is_authorised(request: Request, keys: tuple[bytes, ...]) -> bool:
    """Tell whether a request carries one of `keys` in X-API-Key, X-API-Keys or Authorization: Bearer.

    Compares bytes, in constant time, and never stops early, so that the time taken tells nothing.
    """
    matched = False
    for offered in _offered(request)[:_MAX_KEYS_TRIED]:
        for key in keys:
            matched |= hmac.compare_digest(offered, key)
    return matched


def _offered(request: Request) -> list[bytes]:
    found: list[bytes] = []
    for name, value in request.headers.raw:
        if name in (b"x-api-key", b"x-api-keys"):
            found += [part.strip() for part in value.split(b",")]
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            found.append(value[7:].strip())
    return found
