"""The HTTP application. Every answer is JSON; every error is `{"detail": {"error": {"code", "message"}}}`.

| method, path     | key | answers                                                                          |
| GET, HEAD `/`    | no  | 200 `{status, service}`                                                          |
| GET `/health`    | no  | 200 `{status, healthy, authorized, auth, service, instance_id, pid}`             |
| GET `/info`      | yes | 200 `{service, dataset, rubrics, inference, limits}`                             |
| GET `/task_info` | yes | 200 description; with seeds one TaskInfo, or a list; 422 for a bad seed or slice |
| POST `/rollout`  | yes | 200 result; 400 no model or address; 422 bad request; 4xx, 5xx, 502, 504 upstream |
| POST `/done`     | yes | 200 `{ok, service}`                                                              |

All: 401 wrong or missing key, 404, 405, 408 body too slow, 413 body over 1 MB, 421 unknown Host.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends, FastAPI, Request
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from .contract import Ask, Json, ModelReply, OutputMode, PoolError, ScoringError, Service, TemplateError, View
from .documents import DEFAULT_SPLIT, MAX_SEEDS, rollout_document
from .guards import LOCAL_NAMES, HostGuard, is_authorised
from .policy import (
    DEFAULT_DEADLINE_SECONDS,
    MAX_DEADLINE_SECONDS,
    BadInferenceUrl,
    PolicyClient,
    Question,
    UpstreamFailure,
    completions_url,
)
from .replies import AsciiJSONResponse, error_response
from .schemas import RolloutRequest
from .settings import Settings

MAX_BODY_BYTES: Final = 1024 * 1024
BODY_SECONDS: Final = 10.0
_MAX_REPORTED_PROBLEMS: Final = 8


class _Refused(Exception):
    """Ends a request with an error answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.response = error_response(status, code, message)


def create_app(settings: Settings, service: Service) -> FastAPI:
    """Build the application that serves a task."""
    app = FastAPI(
        title=service.name,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        default_response_class=AsciiJSONResponse,
    )
    app.state.settings = settings
    app.state.keys = tuple(key.encode("ascii") for key in (settings.key, *settings.aliases))
    app.state.service = service
    _add_routes(app)
    bound = f"[{settings.host}]" if ":" in settings.host else settings.host
    app.add_middleware(HostGuard, names=(*LOCAL_NAMES, bound, *settings.allowed_hosts))
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.policy = PolicyClient(app.state.settings.key)
    try:
        yield
    finally:
        await app.state.policy.aclose()


def _add_routes(app: FastAPI) -> None:
    locked = [Depends(_require_key)]
    app.add_api_route("/", _root, methods=["GET", "HEAD"])
    app.add_api_route("/health", _health, methods=["GET"])
    app.add_api_route("/info", _info, methods=["GET"], dependencies=locked)
    app.add_api_route("/task_info", _task_info, methods=["GET"], dependencies=locked)
    app.add_api_route("/rollout", _rollout, methods=["POST"], dependencies=locked)
    app.add_api_route("/done", _done, methods=["POST"], dependencies=locked)
    app.add_exception_handler(_Refused, _answer_refusal)
    app.add_exception_handler(PoolError, _answer_pool_error)
    app.add_exception_handler(UpstreamFailure, _answer_upstream_failure)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(Exception, _answer_crash)


async def _require_key(request: Request) -> None:
    if not is_authorised(request, request.app.state.keys):
        raise _Refused(401, "unauthorised", "Send the environment key as X-API-Key or Authorization: Bearer.")


async def _root(request: Request) -> Response:
    return AsciiJSONResponse({"status": "ok", "service": request.app.state.service.name})


async def _health(request: Request) -> Response:
    state = request.app.state
    return AsciiJSONResponse(
        {
            "status": "healthy",
            "healthy": True,
            "authorized": is_authorised(request, state.keys),
            "auth": {"required": True},
            "service": state.service.name,
            "instance_id": state.settings.instance_id,
            "pid": os.getpid(),
        }
    )


async def _info(request: Request) -> Response:
    service: Service = request.app.state.service
    return AsciiJSONResponse(service.info_document())


async def _task_info(request: Request) -> Response:
    service: Service = request.app.state.service
    query = request.query_params
    view = service.view(_whole_number("num_intents", query["num_intents"]) if "num_intents" in query else None)
    split = query.get("split", DEFAULT_SPLIT)
    is_range = "start" in query or "count" in query
    seeds = _range_seeds(request) if is_range else _listed_seeds(request)
    if not seeds and not is_range:
        return AsciiJSONResponse(view.task_document())
    _check_seeds(view, split, seeds)
    # Thousands of seeds take a noticeable part of a second; rollouts must not wait for it.
    found = await asyncio.to_thread(view.seed_documents, split, seeds)
    body = found[0] if len(found) == 1 and not is_range else found
    return await asyncio.to_thread(AsciiJSONResponse, body)


async def _rollout(request: Request) -> Response:
    body = await _read_rollout(request)
    service: Service = request.app.state.service
    config, wanted = body.policy.config, body.env.config
    _completions_url(config.inference_url)
    if not config.model:
        raise _Refused(400, "missing_model", "policy.config.model is missing. Name the model to ask.")
    view = service.view(wanted.num_intents)
    split = wanted.split or wanted.pool or DEFAULT_SPLIT
    _check_seeds(view, split, [body.env.seed])
    mode: OutputMode = body.policy.output_mode or config.output_mode or "tool_calls"
    policy: PolicyClient = request.app.state.policy
    ask = _asker(policy, body, config.inference_url)
    try:
        rollout = await view.rollout(body, split, mode, ask, _judge(policy, body))
    except TemplateError as error:
        raise _Refused(422, "invalid_prompt", str(error)) from None
    except ScoringError as error:
        raise _Refused(500, "scoring_failed", str(error)) from None
    trace_id = config.trace_correlation_id or body.trace_correlation_id or _trace_id(config.inference_url or "")
    return AsciiJSONResponse(rollout_document(body, rollout, split, mode, service.environment, trace_id))


def _asker(policy: PolicyClient, body: RolloutRequest, url: str | None) -> Ask:
    async def ask(question: Json) -> ModelReply:
        return await policy.ask(Question(_completions_url(url), question, _deadline(body)))

    return ask


def _judge(policy: PolicyClient, body: RolloutRequest) -> Ask:
    url = body.policy.config.judge_url
    if url:
        return _asker(policy, body, url)

    async def refuse(_: Json) -> ModelReply:
        raise _Refused(400, "missing_judge", "A judge scores this task: give its address in policy.config.judge_url.")

    return refuse


def _completions_url(url: str | None) -> str:
    try:
        return completions_url(url)
    except BadInferenceUrl as error:
        raise _Refused(400, "bad_inference_url", str(error)) from None


async def _done(request: Request) -> Response:
    return AsciiJSONResponse({"ok": True, "service": request.app.state.service.name})


async def _read_rollout(request: Request) -> RolloutRequest:
    raw = await _read_body(request)
    try:
        return RolloutRequest.model_validate_json(raw)
    except ValidationError as error:
        raise _Refused(422, "invalid_request", _describe(error)) from None


async def _read_body(request: Request) -> bytes:
    """Read a body of at most 1 MB; not Starlette's middleware, because that answers 413 in plain text."""
    received = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                received += chunk
                if len(received) > MAX_BODY_BYTES:
                    raise _Refused(413, "body_too_large", f"A body may hold {MAX_BODY_BYTES:,} bytes at most.")
    except TimeoutError:
        raise _Refused(408, "slow_body", f"The body did not arrive within {BODY_SECONDS:g} s.") from None
    except ClientDisconnect:
        raise _Refused(400, "incomplete_body", "The connection ended before the body did.") from None
    return bytes(received)


def _describe(error: ValidationError) -> str:
    """Name each bad key and what is wrong with it; the values, which may be anything, are left out."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"{'.'.join(map(str, p['loc'])) or 'body'}: {p['msg']}" for p in problems]
    return "; ".join(lines[:_MAX_REPORTED_PROBLEMS])


def _deadline(body: RolloutRequest) -> float:
    asked = body.policy.config.timeout_seconds or (body.safety.max_time_s if body.safety else None)
    return min(asked or DEFAULT_DEADLINE_SECONDS, MAX_DEADLINE_SECONDS)


def _trace_id(inference_url: str) -> str | None:
    values = parse_qs(urlsplit(inference_url).query).get("cid")
    return values[0] if values else None


def _listed_seeds(request: Request) -> list[int]:
    values = [value for name in ("seed", "seeds") for value in request.query_params.getlist(name)]
    if len(values) > MAX_SEEDS:
        raise _Refused(422, "too_many_seeds", f"{len(values)} seeds asked for; at most {MAX_SEEDS} per call.")
    return [_whole_number("seed", value) for value in values]


def _range_seeds(request: Request) -> list[int]:
    start = _whole_number("start", request.query_params.get("start", "0"))
    count = _whole_number("count", request.query_params.get("count", "1"))
    if count > MAX_SEEDS:
        raise _Refused(422, "too_many_seeds", f"{count} seeds asked for; at most {MAX_SEEDS} per call.")
    return list(range(start, start + count))


def _whole_number(name: str, text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 12):
        raise _Refused(422, "invalid_request", f"{name} must be a whole number.")
    return int(text)


def _check_seeds(view: View, split: str, seeds: list[int]) -> None:
    last = view.count(split) - 1
    for seed in seeds:
        if not 0 <= seed <= last:
            raise _Refused(422, "seed_out_of_range", f"Seed {seed} is out of range: {split} has 0 to {last}.")


# Handlers take `Exception` because that is what Starlette's signature asks for.


async def _answer_refusal(_: Request, error: Exception) -> Response:
    return cast(_Refused, error).response


async def _answer_pool_error(_: Request, error: Exception) -> Response:
    return error_response(422, "invalid_pool", str(error))


async def _answer_upstream_failure(_: Request, error: Exception) -> Response:
    failure = cast(UpstreamFailure, error)
    headers = {"Retry-After": failure.retry_after} if failure.retry_after else None
    return error_response(
        failure.status, failure.code, failure.message, headers, upstream_status=failure.upstream_status
    )


async def _answer_http_error(_: Request, error: Exception) -> Response:
    http_error = cast(HTTPException, error)
    codes = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
    code = codes.get(http_error.status_code, "http_error")
    return error_response(http_error.status_code, code, str(http_error.detail), http_error.headers)


async def _answer_crash(_: Request, error: Exception) -> Response:
    return error_response(500, "internal", "The task app failed; its log says why.")
