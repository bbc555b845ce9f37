"""The interceptor: where a task app's question meets the prompt under test.

POST /api/interceptor/v1/{trial_id}/chat/completions   an OpenAI chat request -> the model's answer

The trial id is unguessable and lives as long as one rollout: knowing it is the authorisation, so a task app needs no
key of ours. Errors have OpenAI's shape; unknown trials are 404.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from mipro_walk.clients.chat import CallFailed, ChatGateway
from mipro_walk.prompting import apply_candidate
from mipro_walk.types import Candidate

PREFIX = "/api/interceptor/v1"
MAX_CALLS_PER_TRIAL = 20
TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """Decoding parameters of the job; they replace what the app sends."""

    temperature: float
    max_completion_tokens: int


@dataclass
class Trace:
    """What passed through one trial."""

    requests: list[Mapping[str, Any]] = field(default_factory=list)
    answers: list[Mapping[str, Any]] = field(default_factory=list)
    failure: CallFailed | None = None


@dataclass(frozen=True)
class _Trial:
    candidate: Candidate
    baseline_instruction: str
    gateway: ChatGateway
    policy: RolloutPolicy
    tag: str
    trace: Trace


class Interceptor:
    """The open trials."""

    def __init__(self) -> None:
        self._trials: dict[str, _Trial] = {}

    def open(
        self,
        candidate: Candidate,
        baseline_instruction: str,
        gateway: ChatGateway,
        policy: RolloutPolicy,
        tag: str = "",
    ) -> str:
        """Open a trial and return its id."""
        trial_id = f"pl-{secrets.token_hex(16)}"
        self._trials[trial_id] = _Trial(candidate, baseline_instruction, gateway, policy, tag, Trace())
        return trial_id

    def close(self, trial_id: str) -> Trace | None:
        """Close a trial and return what passed through it; ``None`` if it is not open."""
        trial = self._trials.pop(trial_id, None)
        return None if trial is None else trial.trace

    async def complete(self, trial_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Put the candidate into the request and ask the model.

        Raises:
            KeyError: the trial is not open.
            CallFailed: the model could not be asked, or the trial asked too often.
        """
        trial = self._trials[trial_id]
        if len(trial.trace.requests) >= MAX_CALLS_PER_TRIAL:
            raise CallFailed(429, f"a trial may ask {MAX_CALLS_PER_TRIAL} times")
        request = trial_request(body, trial.candidate, trial.baseline_instruction, trial.policy)
        trial.trace.requests.append(request)
        try:
            answer = await trial.gateway.complete(request, trial.tag or trial_id)
        except CallFailed as failure:
            trial.trace.failure = failure
            raise
        trial.trace.answers.append(answer)
        return answer


def trial_request(
    body: Mapping[str, Any], candidate: Candidate, baseline_instruction: str, policy: RolloutPolicy
) -> dict[str, Any]:
    """Return the request that reaches the model: the app's, with the candidate's prompt and the job's parameters."""
    request = apply_candidate(body, candidate, baseline_instruction)
    for name in TOKEN_LIMITS:
        request.pop(name, None)
    return {**request, "temperature": policy.temperature, "max_completion_tokens": policy.max_completion_tokens}


def create_router(interceptor: Interceptor) -> APIRouter:
    """Return the route named in the module docstring."""
    router = APIRouter(prefix=PREFIX)

    @router.post("/{trial_id}/chat/completions")
    async def complete(trial_id: str, request: Request) -> JSONResponse:
        try:
            body = json.loads(await request.body())
        except (ValueError, RecursionError):
            return _error(400, "The body is not JSON.", "invalid_request_error")
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            return _error(400, "'messages' must be a list.", "invalid_request_error")
        if not all(isinstance(message, dict) for message in body["messages"]):
            return _error(400, "Each message must be an object.", "invalid_request_error")
        if body.get("stream"):
            return _error(400, "Streaming is not offered here.", "invalid_request_error")
        try:
            return JSONResponse(await interceptor.complete(trial_id, body))
        except KeyError:
            return _error(404, "This trial is not open.", "not_found_error")
        except CallFailed as failure:
            return _error(failure.status, failure.reason, "upstream_error")

    return router


def _error(status: int, message: str, kind: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": kind}}, status)
