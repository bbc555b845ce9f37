"""The live page: its files, and how a browser gets to see data.

GET    /                    the page; like the files under /page/ it is open and holds no data
GET    /page/NAME           its scripts and styles
POST   /api/page/codes      (bearer key) {"code", "expires_in"}: good once, for 60 seconds
POST   /api/page/sessions   {"code"} or {"key"} -> {"token", "expires_in"}; 401 wrong, 429 too many wrong ones
DELETE /api/page/sessions   (session) ends the session

The token goes into the Authorization header, like a key. What a session may do stands in :mod:`.guard`.
"""

from __future__ import annotations

import math
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Response
from pydantic import BaseModel, ConfigDict, Field

from mipro_walk.backend.keys import BearerKeys
from mipro_walk.backend.sessions import CODE_SECONDS, SESSION_SECONDS, Sessions, WrongGuesses
from mipro_walk.report.page import asset, policy

SESSION = "/api/page/sessions"
CODES = "/api/page/codes"
SCRIPTS = ("api.js", "dom.js", "job.js", "jobs.js", "main.js", "state.js")
STYLES = ("page.css", "style.css")
OPEN = {
    ("GET", "/"),
    ("POST", SESSION),
    *(("GET", f"/page/{name}") for name in (*SCRIPTS, *STYLES)),
}
"""Requests that need neither key nor session."""
_REPORT = dict(part.split(" ", 1) for part in policy(asset("style.css"), asset("templates/filter.js")).split("; "))
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src 'self' {_REPORT['script-src']}",
        f"style-src 'self' {_REPORT['style-src']}",
        "connect-src 'self'",
        "img-src data:",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
"""The two hashes are of the report's own script and style: the page opens it as a blob, which inherits this policy."""
MAX_SECRET_CHARS = 512


class Credential(BaseModel):
    """What a page shows for a session: a code, or a key of the backend."""

    model_config = ConfigDict(extra="forbid")

    code: str | None = Field(default=None, max_length=MAX_SECRET_CHARS)
    key: str | None = Field(default=None, max_length=MAX_SECRET_CHARS)


def create_router(bearer: BearerKeys, sessions: Sessions) -> APIRouter:
    """Return the routes named in the module docstring."""
    router = APIRouter()
    wrong = WrongGuesses()
    assets = _read_assets()

    @router.get("/")
    def index() -> Response:
        return Response(assets["index.html"], media_type="text/html; charset=utf-8")

    @router.get("/page/{name}")
    def asset(name: str) -> Response:
        if name not in (*SCRIPTS, *STYLES):
            raise HTTPException(404, {"error": {"code": "not_found", "message": "There is no such file."}})
        kind = "text/javascript" if name.endswith(".js") else "text/css"
        return Response(assets[name], media_type=f"{kind}; charset=utf-8")

    @router.post(CODES)
    def issue_code() -> dict[str, str | float]:
        return {"code": sessions.issue_code(), "expires_in": CODE_SECONDS}

    @router.post(SESSION)
    def open_session(body: Credential) -> dict[str, str | float]:
        if wait := wrong.seconds_to_wait():
            message = f"Too many wrong keys or codes. Try again in {math.ceil(wait)} s."
            headers = {"Retry-After": str(math.ceil(wait))}
            raise HTTPException(429, {"error": {"code": "too_many", "message": message}}, headers)
        token = _exchange(body, bearer, sessions)
        if token is None:
            wrong.count()
            message = "The key is not the one of this backend." if body.code is None else "The code was used or is old."
            raise HTTPException(401, {"error": {"code": "unauthorised", "message": message}})
        return {"token": token, "expires_in": SESSION_SECONDS}

    @router.delete(SESSION, status_code=204)
    def end_session(authorization: Annotated[str | None, Header()] = None) -> None:
        sessions.end(token_of(authorization))

    return router


def token_of(authorization: str | None) -> str:
    """Return the token of an ``Authorization: Bearer`` header; empty if there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def _exchange(body: Credential, bearer: BearerKeys, sessions: Sessions) -> str | None:
    if body.code is not None:
        return sessions.redeem(body.code)
    if body.key is not None and bearer.accepts(f"Bearer {body.key}"):
        return sessions.open()
    return None


def _read_assets() -> dict[str, bytes]:
    """Return the page's files by name. The style is the report's, so that both look the same."""
    own = files("mipro_walk.backend") / "static"
    found = {name: (own / name).read_bytes() for name in ("index.html", "page.css", *SCRIPTS)}
    return {**found, "style.css": asset("style.css").encode()}
