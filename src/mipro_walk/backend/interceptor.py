"""The interceptor: where a task app's plain question meets the prompt under test.

POST /api/interceptor/v1/{trial_id}/chat/completions   an OpenAI chat request -> the model's completion

A trial is one rollout. Its id is unguessable and dies with it: **knowing it is the authorisation**, so that a task app
needs no key of ours. Errors have OpenAI's shape: 400 for a request that cannot be sent on, 404 for a trial that is not
open, 413 and 415 for bodies that are too large or no JSON, else the status of the model's endpoint (502 where that
speaks of our key or says nothing, 504 where time ran out).
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request, Response

from mipro_walk.clients.attempts import Attempt
from mipro_walk.clients.chat import ChatGateway
from mipro_walk.clients.replies import CallFailed
from mipro_walk.prompting import apply_candidate, content_text
from mipro_walk.types import Candidate, Message, Usage, fingerprint

logger = logging.getLogger(__name__)

PREFIX = "/api/interceptor/v1"
MAX_BODY_BYTES = 1_000_000
MAX_CALLS_PER_TRIAL = 20
OURS = ("model", "temperature", "max_tokens", "max_completion_tokens", "n", "stream", "stream_options")
"""Fields of the app's request that are not passed on: the job decides them, or they would change what it costs."""
PASSED_STATUSES = frozenset({400, 408, 409, 413, 422, 425, 429})


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """How the policy model is asked; replaces what the app sends. ``None`` leaves a field to the endpoint."""

    temperature: float | None
    max_completion_tokens: int | None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question of the app and how it ended: exactly one of ``response`` and ``failure`` is set.

    Attributes:
        messages: as they reached the model.
        response: the answer's text; arguments of a tool call as their JSON.
        attempts: in their order.
        sent: the whole request as it reached the model; empty if there is no response.
    """

    messages: tuple[Message, ...]
    response: str | None
    attempts: tuple[Attempt, ...]
    failure: CallFailed | None
    sent: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trace:
    """What passed through one trial.

    Attributes:
        exchanges: in the order in which they ended; empty if the app never asked.
        failure: why a question of the app has no answer; ``None`` if all have one. With a failure the app's score
            measured nothing, whatever it is.
    """

    trial_id: str
    tag: str
    exchanges: tuple[Exchange, ...]
    failure: CallFailed | None

    @property
    def usage(self) -> Usage:
        """What all attempts consumed together."""
        attempts = (attempt for exchange in self.exchanges for attempt in exchange.attempts)
        return sum((Usage(1, a.prompt_tokens, a.completion_tokens, a.cost_usd) for a in attempts), Usage())


@dataclass(slots=True)
class _Trial:
    """An open trial. Changed on the event loop only."""

    candidate: Candidate | None
    baseline_instruction: str
    gateway: ChatGateway
    policy: RolloutPolicy
    tag: str
    query: str | None
    calls: int = 0
    exchanges: list[Exchange] = field(default_factory=list)


class TrialNotOpenError(LookupError):
    """No open trial has this id."""


class Interceptor:
    """The open trials. ``open`` and ``close`` may be called from any thread."""

    def __init__(self) -> None:
        self._trials: dict[str, _Trial] = {}
        self._lock = threading.Lock()

    def open(
        self,
        candidate: Candidate | None,
        baseline_instruction: str,
        gateway: ChatGateway,
        policy: RolloutPolicy,
        *,
        tag: str = "",
        query: str | None = None,
    ) -> str:
        """Open a trial and return its id.

        Args:
            candidate: the prompt under test; ``None`` lets the app's messages through as they are (a judge's).
            baseline_instruction: the text it replaces in the app's system message.
            gateway: asks the policy model; belongs to the loop that serves the router.
            policy: how to ask.
            tag: goes into the record of each attempt; default: the trial's id.
            query: the row's text, if known, so that demonstrations look like the app's question.
        """
        trial_id = f"pl-rollout-{secrets.token_hex(16)}"
        trial = _Trial(candidate, baseline_instruction, gateway, policy, tag or trial_id, query)
        with self._lock:
            self._trials[trial_id] = trial
        return trial_id

    def close(self, trial_id: str) -> Trace | None:
        """Close a trial and return what passed through it; ``None`` if it is not open."""
        with self._lock:
            trial = self._trials.pop(trial_id, None)
        if trial is None:
            return None
        exchanges = tuple(trial.exchanges)
        failure = _open_failure(exchanges)
        if len(exchanges) < trial.calls:
            failure = CallFailed("timeout", None, "the task app did not wait for the model's answer", True)
        return Trace(trial_id, trial.tag, exchanges, failure)

    async def complete(self, trial_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the model the app's question with the trial's prompt and return the completion.

        Raises:
            TrialNotOpenError: the trial is not open.
            CallFailed: the model could not be asked, or the trial has used up its calls.
        """
        trial = self._trials.get(trial_id)
        if trial is None:
            raise TrialNotOpenError(trial_id)
        if trial.calls >= MAX_CALLS_PER_TRIAL:
            raise CallFailed("request", 400, f"a trial may ask {MAX_CALLS_PER_TRIAL} times", False)
        trial.calls += 1
        request = trial_request(body, trial.candidate, trial.baseline_instruction, trial.policy, trial.query)
        attempts: list[Attempt] = []
        completion, failure = None, None
        try:
            completion = await trial.gateway.complete(request, trial.tag, attempts.append)
        except CallFailed as exc:
            failure = exc
            raise
        except Exception as exc:  # a record that cannot be written must not look like a bad answer
            logger.exception("trial %s", trial.tag)
            failure = CallFailed("internal", None, f"the call could not be recorded ({type(exc).__name__})", True)
            raise failure from exc
        finally:
            if completion is not None or failure is not None:
                response = None if completion is None else response_text(completion)
                sent = {} if completion is None else trial.gateway.as_sent(request)
                trial.exchanges.append(Exchange(tuple(request["messages"]), response, tuple(attempts), failure, sent))
        return completion


def trial_request(
    body: Mapping[str, Any],
    candidate: Candidate | None,
    baseline_instruction: str,
    policy: RolloutPolicy,
    query: str | None = None,
) -> dict[str, Any]:
    """Return the request that reaches the model: the app's, with the candidate's prompt and the job's parameters."""
    kept = {name: value for name, value in body.items() if name not in OURS}
    ours = {
        "model": policy.model,
        "temperature": policy.temperature,
        "max_completion_tokens": policy.max_completion_tokens,
    }
    request = kept if candidate is None else apply_candidate(kept, candidate, baseline_instruction, query)
    return {**request, **{name: value for name, value in ours.items() if value is not None}}


def response_text(completion: Mapping[str, Any]) -> str:
    """Return the text of a checked completion, or the arguments of its first tool call."""
    message = completion["choices"][0]["message"]
    if text := content_text(message.get("content")):
        return text
    calls = message.get("tool_calls")
    first = calls[0] if isinstance(calls, list) and calls else None
    function = first.get("function") if isinstance(first, dict) else None
    arguments = function.get("arguments") if isinstance(function, dict) else None
    return arguments if isinstance(arguments, str) else ""


def create_router(interceptor: Interceptor) -> APIRouter:
    """Return the route named in the module docstring."""
    router = APIRouter(prefix=PREFIX)

    @router.post("/{trial_id}/chat/completions")
    async def complete(trial_id: str, request: Request) -> Response:
        try:
            body = read_request(await _read_body(request))
            completion = await interceptor.complete(trial_id, body)
        except RequestRefusedError as exc:
            return _error(exc.status, exc.reason, "invalid_request_error", "invalid_request")
        except TrialNotOpenError:
            return _error(404, "This trial is not open.", "invalid_request_error", "trial_not_open")
        except CallFailed as exc:
            return _error(_status_for(exc), exc.reason, "upstream_error", exc.kind)
        return Response(json.dumps(completion), media_type="application/json")

    return router


class RequestRefusedError(Exception):
    """A request that is not sent on. ``status`` is the HTTP status to answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def read_request(content: bytes) -> dict[str, Any]:
    """Return the chat request in ``content``.

    Raises:
        RequestRefusedError: it is no JSON object with messages, or wants a stream.
    """
    try:
        body = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise RequestRefusedError(400, "The body is not JSON.") from None
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise RequestRefusedError(400, "'messages' must be a list of objects.")
    if body.get("stream"):
        raise RequestRefusedError(400, "Streaming is not offered here; send the request without 'stream'.")
    return dict(body)


async def _read_body(request: Request) -> bytes:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise RequestRefusedError(415, "Send the request as application/json.")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            raise RequestRefusedError(413, f"A request may have {MAX_BODY_BYTES} bytes.")
    return bytes(data)


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _open_failure(exchanges: tuple[Exchange, ...]) -> CallFailed | None:
    """Return the first failure that the app did not make good by asking the same again."""
    answered = {fingerprint(exchange.messages) for exchange in exchanges if exchange.failure is None}
    failed = (exchange for exchange in exchanges if exchange.failure is not None)
    return next((e.failure for e in failed if fingerprint(e.messages) not in answered), None)


def _status_for(failure: CallFailed) -> int:
    """Return what the app is told. 401 to 404 are about our key and model, which the app knows nothing of."""
    status = 400 if failure.kind == "request" else failure.status
    if status is not None and (status in PASSED_STATUSES or 500 <= status <= 599):
        return status
    return 504 if failure.kind == "timeout" else 502


def _error(status: int, message: str, kind: str, code: str) -> Response:
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    # The gateway has retried already: OpenAI's clients leave it at that when they are told so.
    return Response(json.dumps(body), status, {"x-should-retry": "false"}, media_type="application/json")
