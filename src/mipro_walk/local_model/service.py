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

import argparse
import asyncio
import hmac
import ipaddress
import os
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException

from mipro_walk.errors import ConfigError, KeyMissingError, MiproWalkError, PrerequisiteError
from mipro_walk.local_model import enum_answers, weights
from mipro_walk.local_model.engine import (
    QUEUE_LIMIT,
    ChatEngine,
    LlamaEngine,
    QueueFullError,
    RequestRefusedError,
    Worker,
)

KEY_VARIABLE = "MIPRO_WALK_LOCAL_MODEL_KEY"
MAX_BODY_BYTES = 1_000_000
# Without a limit a small model may babble until its context is full, a minute and more.
DEFAULT_MAX_TOKENS = 512

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """``api_key``: what clients must send. ``queue_limit``: requests that may wait."""

    api_key: str
    queue_limit: int = QUEUE_LIMIT

    def __repr__(self) -> str:
        return f"Settings(api_key='***', queue_limit={self.queue_limit})"


# The request ----------------------------------------------------------------------------------


class _TextPart(BaseModel):
    type: Literal["text"]
    text: str


class _FunctionCall(BaseModel):
    name: str
    arguments: str


class _ToolCall(BaseModel):
    id: str | None = None
    type: Literal["function"] = "function"
    function: _FunctionCall


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_TextPart] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None


class _Function(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str
    parameters: dict[str, Any] | None = None


class _Tool(BaseModel):
    type: Literal["function"]
    function: _Function


class _FunctionName(BaseModel):
    name: str


class _NamedTool(BaseModel):
    type: Literal["function"]
    function: _FunctionName


class _JsonSchema(BaseModel):
    model_config = ConfigDict(extra="allow", populate_by_name=True)

    # Not `schema`: that name is taken by pydantic's BaseModel.
    value: dict[str, Any] = Field(alias="schema")


class _ResponseFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None


_Number = Annotated[float, Field(allow_inf_nan=False)]


class _ChatRequest(BaseModel):
    """What is understood of a chat request. Unknown keys (``user``, ``store``, …) change nothing here."""

    messages: list[_Message] = Field(min_length=1)
    temperature: Annotated[_Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[_Number, Field(gt=0, le=1)] | None = None
    presence_penalty: Annotated[_Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[_Number, Field(ge=-2, le=2)] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    grammar: str | None = None
    response_format: _ResponseFormat | None = None
    tools: list[_Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | _NamedTool | None = None
    n: int | None = None
    stream: bool | None = None
    logprobs: bool | None = None
    functions: list[Any] | None = None


class _ApiError(Exception):
    """An answer in OpenAI's error shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _parse(raw: bytes) -> Body:
    """Turn the body into what the engine is asked, or refuse it.

    Raises:
        _ApiError: 400, naming the field at fault.
    """
    try:
        request = _ChatRequest.model_validate_json(raw)
    except ValidationError as exc:
        problem = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        param = ".".join(str(step) for step in problem["loc"]) or None
        where = f"{param}: " if param else ""
        raise _ApiError(400, f"{where}{problem['msg']}", param=param) from exc
    _refuse_unsupported(request)
    return _engine_request(request)


def _refuse_unsupported(request: _ChatRequest) -> None:
    """Refuse what would silently change the meaning of the answer if it were ignored."""
    wanted_format = request.response_format
    refusals = {
        "stream": (request.stream, "Streaming is not supported by the local model; send stream=false."),
        "n": (request.n not in (None, 1), "Only n=1 is supported by the local model."),
        "logprobs": (request.logprobs, "logprobs are not supported by the local model."),
        "functions": (request.functions, "`functions` is not supported; use `tools`."),
        "grammar": (
            request.grammar and (request.tools or (wanted_format and wanted_format.type != "text")),
            "`grammar` cannot be combined with `tools` or `response_format`.",
        ),
        "response_format.json_schema": (
            wanted_format and wanted_format.type == "json_schema" and not wanted_format.json_schema,
            "response_format of type json_schema needs json_schema.schema.",
        ),
        "tool_choice": (
            isinstance(request.tool_choice, _NamedTool)
            and request.tool_choice.function.name not in [t.function.name for t in request.tools or []],
            "tool_choice names a function that is not among the tools.",
        ),
    }
    for param, (refused, message) in refusals.items():
        if refused:
            raise _ApiError(400, message, param=param, code="unsupported_value")


def _engine_request(request: _ChatRequest) -> Body:
    dumped = request.model_dump(
        exclude_none=True,
        by_alias=True,
        exclude={"n", "stream", "logprobs", "functions", "max_completion_tokens", "messages"},
    )
    dumped["messages"] = [_engine_message(message) for message in request.messages]
    dumped["max_tokens"] = request.max_completion_tokens or request.max_tokens or DEFAULT_MAX_TOKENS
    if request.seed is not None:
        dumped["seed"] = request.seed % 2**32  # llama.cpp's seeds are 32 bits wide
    if request.tool_choice == "none" or not request.tools:
        dumped.pop("tools", None)
        dumped.pop("tool_choice", None)
    return dumped


def _engine_message(message: _Message) -> Body:
    content = message.content
    if isinstance(content, list):
        content = "\n".join(part.text for part in content)
    # Chat templates of small models know no developer role.
    role = "system" if message.role == "developer" else message.role
    turn = message.model_dump(exclude_none=True, exclude={"content", "role"})
    has_calls = bool(message.tool_calls)
    return {"role": role, "content": content if content is not None or has_calls else "", **turn}


# The application ------------------------------------------------------------------------------


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
        asked = _parse(await _read_body(request))
        question = enum_answers.find_question(asked)
        bare = enum_answers.as_bare_question(asked, question) if question else asked
        answer = await _answer(worker, bare, request)
        return JSONResponse(_shape(answer, question))

    return app


def _add_error_handlers(app: FastAPI) -> None:
    async def api_error(_request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, _ApiError)
        return JSONResponse(exc.body, exc.status, headers=exc.headers)

    async def http_error(_request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, HTTPException)
        return JSONResponse(_ApiError(exc.status_code, str(exc.detail)).body, exc.status_code, exc.headers)

    app.add_exception_handler(_ApiError, api_error)
    app.add_exception_handler(HTTPException, http_error)


def _require_key(request: Request, key: str) -> None:
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    # On the bytes as sent (Starlette decoded them as latin-1): compare_digest refuses non-ASCII str.
    if scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode("latin-1"), key.encode()):
        return
    raise _ApiError(
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
    raise _ApiError(413, f"The request body is larger than {MAX_BODY_BYTES} bytes.", code="body_too_large")


async def _answer(worker: Worker, asked: Body, request: Request) -> Body:
    """Queue the request and wait for its answer; a client that leaves meanwhile loses its place."""
    try:
        queued = worker.submit(asked)
    except QueueFullError as exc:
        raise _ApiError(
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
            raise _ApiError(499, "The client closed the connection.", code="client_closed")
        return answer.result()
    except RequestRefusedError as exc:
        raise _ApiError(400, exc.message, code=exc.code) from exc
    except asyncio.CancelledError:
        if not queued.cancelled():
            raise
        raise _ApiError(503, "The local model is shutting down.", kind="server_error") from None
    except RuntimeError as exc:
        raise _ApiError(500, str(exc), kind="server_error", code="engine_failed") from exc
    finally:
        gone.cancel()
        answer.cancel()


async def _until_disconnected(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _shape(answer: Body, question: enum_answers.EnumQuestion | None) -> Body:
    """Return the engine's answer in OpenAI's shape and, for an enum question, in the form asked for."""
    choice = answer["choices"][0]
    message = {**choice["message"], "refusal": None}
    finish_reason = choice["finish_reason"]
    if question is not None:
        # None only if the answer was cut off (context full); then it stays text with reason "length".
        wrapped = enum_answers.wrap(question, message["content"] or "", f"call_{secrets.token_hex(12)}")
        if wrapped is not None:
            message, finish_reason = {**wrapped.message, "refusal": None}, wrapped.finish_reason
    return {
        "id": answer.get("id") or f"chatcmpl-{secrets.token_hex(12)}",
        "object": "chat.completion",
        "created": answer.get("created") or int(time.time()),
        "model": answer["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
        "usage": answer["usage"],
    }


# The process ----------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped; return the exit code. Prints ``ready URL`` to stdout once it can answer."""
    arguments = _parse_arguments(argv)
    try:
        _run(arguments)
    except MiproWalkError as exc:
        print(f"error: {exc.message}" + (f"\n  fix: {exc.fix}" if exc.fix else ""), file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def default_cache_dir() -> Path:
    """Where the model file lies unless another folder is named."""
    home = os.environ.get("MIPRO_WALK_HOME")
    return (Path(home) if home else platformdirs.user_data_path("mipro-walk")) / "models"


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mipro_walk.local_model",
        description=f"Serve a small language model on loopback (OpenAI API). The key is read from {KEY_VARIABLE}.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8003, help="0 takes a free one (default: 8003)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--model-path", type=Path, help="a GGUF file of your own")
    source.add_argument("--cache-dir", type=Path, help="where the model file is kept")
    parser.add_argument("--threads", type=int, help="CPU threads (default: measured at start)")
    parser.add_argument("--ready-file", type=Path, help="gets the URL when the service can answer")
    return parser.parse_args(argv)


def _run(arguments: argparse.Namespace) -> None:
    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise KeyMissingError(f"{KEY_VARIABLE} is not set.", fix=f"Export a key of your choice as {KEY_VARIABLE}.")
    if arguments.threads is not None and not 1 <= arguments.threads <= 256:
        raise ConfigError(f"--threads {arguments.threads} is not between 1 and 256.", fix="Leave it out to measure.")
    # Before the model is loaded: a port in use should be said at once.
    listener = _bind(arguments.host, arguments.port)
    with listener:
        path = _model_file(arguments)
        started = time.monotonic()
        engine = LlamaEngine(path, arguments.threads)
        _say(_describe(engine, arguments.threads is not None, time.monotonic() - started))
        _Server(create_app(engine, Settings(key)), listener, arguments.ready_file).run(sockets=[listener])


def _model_file(arguments: argparse.Namespace) -> Path:
    if arguments.model_path is not None:
        return weights.custom(arguments.model_path)
    return weights.pull(arguments.cache_dir or default_cache_dir(), _say)


def _describe(engine: LlamaEngine, fixed: bool, seconds: float) -> str:
    how = "as told" if fixed else "measured fastest"
    return (
        f"{engine.model}: {engine.threads} thread(s), {how}; "
        f"{engine.tokens_per_second:.0f} generated tokens/s; started in {seconds:.1f} s"
    )


def _bind(host: str, port: int) -> socket.socket:
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as exc:
        raise ConfigError(f"--host {host!r} is not an IP address.", fix="Use 127.0.0.1.") from exc
    if not address.is_loopback:
        raise ConfigError(f"--host {host!r} is not a loopback address.", fix="Use 127.0.0.1.")
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port} is not between 0 and 65535.", fix="Use 0 for a free port.")
    listener = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((str(address), port))
    except OSError as exc:
        listener.close()
        raise PrerequisiteError(
            f"Cannot listen on {host}:{port}: {exc.strerror}.", fix="Stop what uses the port or pass --port 0."
        ) from exc
    return listener


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Server(uvicorn.Server):
    """Says once that it can answer, and takes the word back when it stops."""

    def __init__(self, app: FastAPI, listener: socket.socket, ready_file: Path | None) -> None:
        super().__init__(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3))
        host, port = listener.getsockname()[:2]
        self._url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._ready_file = ready_file

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready_file is not None:
            _write_whole(self._ready_file, self._url + "\n")
        print(f"ready {self._url}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._ready_file is not None:
            self._ready_file.unlink(missing_ok=True)
        await super().shutdown(sockets)


def _write_whole(path: Path, text: str) -> None:
    """Write so that a reader sees all of it or nothing."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, "utf-8")
        os.replace(partial, path)
    except OSError as exc:
        raise ConfigError(
            f"Cannot write --ready-file {str(path)!r}: {exc.strerror}.", fix="Name a writable path."
        ) from exc
