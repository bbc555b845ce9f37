"""The backend's FastAPI application: routes, guards, and what lives as long as the process."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from mipro_walk.backend import interceptor as interception
from mipro_walk.backend import keys, page, routes, views
from mipro_walk.backend.guard import MAX_BODY_BYTES, Guard, error_answer
from mipro_walk.backend.interceptor import Interceptor
from mipro_walk.backend.jobs import JobRunner
from mipro_walk.backend.preparation import JobPreparation, task_app_worlds
from mipro_walk.backend.sessions import Sessions
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.errors import ConfigError, KeyMissingError, MiproWalkError
from mipro_walk.ledger import Ledger


def create_app(settings: BackendSettings, port: int = 0) -> FastAPI:
    """Return the application. ``port`` is where it will be reached; it goes into the interceptor's URLs.

    Whoever serves it sets ``app.state.closing`` when it is told to stop: streams end then, which would keep it.

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
    app.state.closing = threading.Event()
    api = routes.JobApi(ledger, runner, box, app.state.closing)
    app.include_router(routes.create_router(api, ledger, runner, secrets.token_hex(8)))
    app.include_router(views.create_router(api.find, ledger))
    app.include_router(keys.create_router(box, ledger))
    bearer, sessions = keys.BearerKeys(settings.keys), Sessions()
    app.include_router(page.create_router(bearer, sessions))
    app.include_router(interception.create_router(interceptor))
    app.add_exception_handler(MiproWalkError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY_BYTES)
    app.add_middleware(Guard, bearer=bearer, sessions=sessions, host=settings.host)
    return app


async def _answer_error(_request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, MiproWalkError)
    statuses: Mapping[type[MiproWalkError], int] = {ConfigError: 422, KeyMissingError: 409}
    problems = exc.problems if isinstance(exc, ConfigError) else []
    status = next((status for kind, status in statuses.items() if isinstance(exc, kind)), 400)
    return error_answer(status, exc.code, exc.message, fix=exc.fix, problems=problems)


async def _answer_validation(_request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    problems = [f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in exc.errors()]
    return error_answer(422, "config", "The request cannot be used.", problems=problems)
