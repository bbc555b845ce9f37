"""What every request passes before it is routed: host, origin, size, and who may do what.

A bearer key may do everything. A page session may read jobs, and cancel, pause and resume them. The page's own files
and the exchange of a code or key for a session are open: there is nothing in them.
"""

from __future__ import annotations

import re
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mipro_walk.backend import page
from mipro_walk.backend.keys import BearerKeys
from mipro_walk.backend.routes import PREFIX
from mipro_walk.backend.sessions import Sessions

MAX_BODY_BYTES = 1_000_000
OPEN_PREFIXES = ("/api/interceptor/",)
"""Paths that need no bearer key: the unguessable trial id in them is the authorisation."""
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
SESSION_MAY = {
    "GET": re.compile(rf"{PREFIX}(/[^/]+(/events|/events/stream|/results|/chart|/report)?)?"),
    "POST": re.compile(rf"{PREFIX}/[^/]+/(cancel|pause|resume)"),
    "DELETE": re.compile(re.escape(page.SESSION)),
}
"""What a page session may do, by method and whole path: no submit, no key."""
HEADERS = {
    "Content-Security-Policy": page.CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuses foreign hosts and origins, missing keys and large bodies before anything is routed.

    Pure ASGI, so that streamed answers are not buffered.
    """

    def __init__(self, app: ASGIApp, bearer: BearerKeys, sessions: Sessions, host: str) -> None:
        self._app = app
        self._bearer = bearer
        self._sessions = sessions
        self._hosts = {*LOCAL_NAMES, host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the headers; the body is counted behind us, as it comes in."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-store")
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        app = self._refusal(Request(scope)) or self._app
        await app(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> JSONResponse | None:
        hosts = request.headers.getlist("host")
        if (
            len(hosts) != 1
            or hosts[0].rpartition(":")[0 if ":" in hosts[0].rpartition("]")[2] else 2] not in self._hosts
        ):
            return error_answer(421, "host", "This host name is not served here.")
        if request.headers.get("origin") and not self._is_own_origin(request):
            return error_answer(403, "origin", "Requests from other web pages are refused.")
        if int(request.headers.get("content-length") or 0) > MAX_BODY_BYTES:
            return error_answer(413, "too_large", f"A body may have {MAX_BODY_BYTES} bytes.")
        return self._unauthorised(request)

    def _unauthorised(self, request: Request) -> JSONResponse | None:
        method, path = request.method, request.scope["path"]
        if path.startswith(OPEN_PREFIXES) or (method, path) in page.OPEN:
            return None
        authorization = request.headers.get("authorization")
        if self._bearer.accepts(authorization):
            return None
        if not self._sessions.accepts(page.token_of(authorization)):
            return error_answer(401, "unauthorised", "A valid key is needed: Authorization: Bearer KEY.")
        allowed = SESSION_MAY.get(method)
        if allowed is None or not allowed.fullmatch(path):
            return error_answer(403, "session", "The live page may not do this; use the key of the backend.")
        return None

    @staticmethod
    def _is_own_origin(request: Request) -> bool:
        return request.headers["origin"] == f"http://{request.headers['host']}"


def error_answer(status: int, code: str, message: str, **more: Any) -> JSONResponse:
    """Return an answer in the one error shape."""
    return JSONResponse({"detail": {"error": {"code": code, "message": message, **more}}}, status)
