"""The backend's FastAPI application: routes, guards, and what lives as long as the process."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from mipro_walk.backend import interceptor as interception
from mipro_walk.backend import keys, routes
from mipro_walk.backend.interceptor import Interceptor
from mipro_walk.backend.jobs import JobRunner
from mipro_walk.backend.preparation import JobPreparation, task_app_worlds
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.errors import ConfigError, KeyMissingError, MiproWalkError
from mipro_walk.ledger import Ledger

MAX_BODY_BYTES = 1_000_000
OPEN_PREFIXES = ("/api/interceptor/",)
"""Paths that need no bearer key: the unguessable trial id in them is the authorisation."""
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


def create_app(settings: BackendSettings, port: int = 0) -> FastAPI:
    """Return the application. ``port`` is where it will be reached; it goes into the interceptor's URLs.

    Raises:
        PrerequisiteError: the ledger or the keys cannot be opened.
    """
    ledger = Ledger(settings.database)
    box = keys.KeyBox(settings.home)
    interceptor = Interceptor()
    base_url = f"http://{settings.host}:{port}"
    worlds = task_app_worlds(settings, box, interceptor, base_url)
    preparation = JobPreparation(settings, ledger, worlds)
    runner = JobRunner(ledger, preparation.run)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        preparation.start(asyncio.get_running_loop())
        runner.start()
        yield
        await asyncio.to_thread(runner.stop)
        preparation.close()
        ledger.close()

    app = FastAPI(title="mipro-walk backend", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.base_url = base_url
    app.include_router(routes.create_router(ledger, runner, box, secrets.token_hex(8)))
    app.include_router(keys.create_router(box, ledger))
    app.include_router(interception.create_router(interceptor))
    app.add_exception_handler(MiproWalkError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY_BYTES)
    app.add_middleware(Guard, bearer=keys.BearerKeys(settings.keys), host=settings.host)
    return app


class Guard:
    """Refuses foreign hosts and origins, missing keys and large bodies before anything is routed.

    Pure ASGI, so that streamed answers are not buffered.
    """

    def __init__(self, app: ASGIApp, bearer: keys.BearerKeys, host: str) -> None:
        self._app = app
        self._bearer = bearer
        self._hosts = {*LOCAL_NAMES, host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the headers; the body is counted behind us, as it comes in."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if refusal := self._refusal(Request(scope)):
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, request: Request) -> JSONResponse | None:
        hosts = request.headers.getlist("host")
        if (
            len(hosts) != 1
            or hosts[0].rpartition(":")[0 if ":" in hosts[0].rpartition("]")[2] else 2] not in self._hosts
        ):
            return _error(421, "host", "This host name is not served here.")
        if request.headers.get("origin") and not self._is_own_origin(request):
            return _error(403, "origin", "Requests from other web pages are refused.")
        if int(request.headers.get("content-length") or 0) > MAX_BODY_BYTES:
            return _error(413, "too_large", f"A body may have {MAX_BODY_BYTES} bytes.")
        is_open = request.url.path.startswith(OPEN_PREFIXES)
        if not is_open and not self._bearer.accepts(request.headers.get("authorization")):
            return _error(401, "unauthorised", "A valid key is needed: Authorization: Bearer KEY.")
        return None

    @staticmethod
    def _is_own_origin(request: Request) -> bool:
        return request.headers["origin"] == f"http://{request.headers['host']}"


def _error(status: int, code: str, message: str, **more: Any) -> JSONResponse:
    return JSONResponse({"detail": {"error": {"code": code, "message": message, **more}}}, status)


async def _answer_error(_request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, MiproWalkError)
    statuses: Mapping[type[MiproWalkError], int] = {ConfigError: 422, KeyMissingError: 409}
    problems = exc.problems if isinstance(exc, ConfigError) else []
    return _error(statuses.get(type(exc), 400), exc.code, exc.message, fix=exc.fix, problems=problems)


async def _answer_validation(_request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    problems = [f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in exc.errors()]
    return _error(422, "config", "The request cannot be used.", problems=problems)
