"""The OpenAI chat API on loopback, before one local model.

``GET  /health``               open; ``{status, model, threads, tokens_per_second, waiting}``
``GET  /v1/models``            key; the one model in OpenAI's list form
``POST /v1/chat/completions``  key; a chat completion; any ``model`` is accepted, the real one returned

The key is a Bearer token, set in the environment variable ``MIPRO_WALK_LOCAL_MODEL_KEY``. Every error is
``{"error": {"message", "type", "param", "code"}}``: 400 a request this service cannot answer (too long
a prompt: ``context_length_exceeded``), 401 key, 404 and 405, 413 a body above 1 MB, 429 queue full
(with ``Retry-After``), 500 the engine failed, 503 shutting down.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from mipro_walk.local_model import KEY_VARIABLE, enum_answers
from mipro_walk.local_model.engine import QUEUE_LIMIT, ChatEngine, QueueFullError, RequestRefusedError, Worker
from mipro_walk.local_model.openai_form import ApiError, Body, read_request, shape_answer

MAX_BODY_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """``api_key``: what clients must send. ``queue_limit``: requests that may wait."""

    api_key: str
    queue_limit: int = QUEUE_LIMIT

    def __repr__(self) -> str:
        return f"Settings(api_key='***', queue_limit={self.queue_limit})"


def create_app(engine: ChatEngine, settings: Settings) -> FastAPI:
    """Return the service. It owns a thread for the engine from here until its shutdown."""
    worker = Worker(engine, settings.queue_limit)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        worker.close()

    app = FastAPI(title="mipro-walk local model", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.worker = worker
    _add_error_handlers(app)

    @app.get("/health")
    async def health() -> Body:
        return {
            "status": "ok",
            "model": engine.model,
            "threads": engine.threads,
            "tokens_per_second": round(engine.tokens_per_second, 1),
            "waiting": worker.waiting,
        }

    @app.get("/v1/models")
    async def models(request: Request) -> Body:
        _require_key(request, settings.api_key)
        model = {"id": engine.model, "object": "model", "created": 0, "owned_by": "local"}
        return {"object": "list", "data": [model]}

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> JSONResponse:
        _require_key(request, settings.api_key)
        asked = read_request(await _read_body(request))
        question = enum_answers.find_question(asked)
        bare = enum_answers.as_bare_question(asked, question) if question else asked
        answer = await _answer(worker, bare, request)
        return JSONResponse(shape_answer(answer, question))

    return app


def _add_error_handlers(app: FastAPI) -> None:
    async def api_error(_request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, ApiError)
        return JSONResponse(exc.body, exc.status, headers=exc.headers)

    async def http_error(_request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, HTTPException)
        return JSONResponse(ApiError(exc.status_code, str(exc.detail)).body, exc.status_code, exc.headers)

    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(HTTPException, http_error)


def _require_key(request: Request, key: str) -> None:
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    # On the bytes as sent (Starlette decoded them as latin-1): compare_digest refuses non-ASCII str.
    if scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode("latin-1"), key.encode()):
        return
    raise ApiError(
        401,
        f"Missing or wrong API key: send 'Authorization: Bearer <the value of {KEY_VARIABLE}>'.",
        kind="authentication_error",
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )


async def _read_body(request: Request) -> bytes:
    declared = request.headers.get("content-length", "")
    body = bytearray()
    if not (declared.isdigit() and int(declared) > MAX_BODY_BYTES):
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                break
        else:
            return bytes(body)
    raise ApiError(413, f"The request body is larger than {MAX_BODY_BYTES} bytes.", code="body_too_large")


async def _answer(worker: Worker, asked: Body, request: Request) -> Body:
    """Queue the request and wait for its answer; a client that leaves meanwhile loses its place."""
    try:
        queued = worker.submit(asked)
    except QueueFullError as exc:
        raise ApiError(
            429,
            f"{exc.waiting} requests are waiting for the local model; try again in {exc.retry_after} s.",
            kind="rate_limit_error",
            code="queue_full",
            headers={"Retry-After": str(exc.retry_after)},
        ) from exc
    answer = asyncio.wrap_future(queued)
    gone = asyncio.ensure_future(_until_disconnected(request.receive))
    either: set[asyncio.Future[Any]] = {answer, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ApiError(499, "The client closed the connection.", code="client_closed")
        return answer.result()
    except RequestRefusedError as exc:
        raise ApiError(400, exc.message, code=exc.code) from exc
    except asyncio.CancelledError:
        if not queued.cancelled():
            raise
        raise ApiError(503, "The local model is shutting down.", kind="server_error") from None
    except RuntimeError as exc:
        raise ApiError(500, str(exc), kind="server_error", code="engine_failed") from exc
    finally:
        gone.cancel()
        answer.cancel()


async def _until_disconnected(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
