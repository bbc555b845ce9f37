"""The JSON bodies that are the same for every task: limits, one seed, one rollout."""

from __future__ import annotations

from typing import Final

from .contract import Json, OutputMode, Rollout
from .policy import DEFAULT_DEADLINE_SECONDS, MAX_DEADLINE_SECONDS
from .schemas import RolloutRequest

DEFAULT_SPLIT: Final = "train"
MAX_SEEDS: Final = 10_000
MAX_RAW_CHARACTERS: Final = 2_000
LIMITS: Final[Json] = {
    "max_turns": 1,
    "max_response_tokens": None,
    "timeout_seconds": int(DEFAULT_DEADLINE_SECONDS),
    "max_timeout_seconds": int(MAX_DEADLINE_SECONDS),
    "max_seeds_per_call": MAX_SEEDS,
}


def completion_body(request: RolloutRequest, messages: list[dict[str, str]], form: Json) -> Json:
    """Return the chat completion that asks `messages`; `form` holds the fields that ask for the answer's form."""
    config = request.policy.config
    asked: Json = {
        "model": config.model,
        "messages": messages,
        "max_completion_tokens": config.max_completion_tokens,
        **form,
    }
    if config.temperature is not None:  # null leaves it out: some models accept only their own default
        asked["temperature"] = config.temperature
    return asked


def rollout_document(
    request: RolloutRequest, rollout: Rollout, split: str, mode: OutputMode, environment: str, trace_id: str | None
) -> Json:
    """Body of `POST /rollout`. `metrics.mean_return` is the score."""
    outcome = {
        "expected": rollout.expected,
        "predicted": rollout.predicted,
        "correct": rollout.score == 1.0,
        "reason": rollout.reason,
    }
    inference_url = request.policy.config.inference_url
    trajectory = {
        "env_id": request.env.env_id or request.env.env_name or environment,
        "policy_id": request.policy.policy_id or request.policy.policy_name or "policy",
        "steps": [_step(request, rollout, split, mode, outcome)],
        "length": 1,
        "inference_url": inference_url,
        "trace_correlation_id": trace_id,
        "final": {"reward": rollout.score, "done": True},
    }
    details: Json = {"seed": request.env.seed, "split": split, **outcome}
    if rollout.figures:
        details["figures"] = dict(rollout.figures)
    return {
        "run_id": request.run_id,
        "trajectories": [trajectory],
        "metrics": {
            "episode_returns": [rollout.score],
            "mean_return": rollout.score,
            "num_steps": 1,
            "num_episodes": 1,
            "outcome_score": rollout.score,
            "details": details,
        },
        "branches": {},
        "aborted": False,
        "ops_executed": 1,
        "trace_correlation_id": trace_id,
        "trace": None,
        "pipeline_metadata": {"trace_correlation_id": trace_id, "inference_url": inference_url},
    }


def _step(request: RolloutRequest, rollout: Rollout, split: str, mode: OutputMode, outcome: Json) -> Json:
    tool_calls = [
        {"name": call.name[:MAX_RAW_CHARACTERS], "arguments": call.arguments[:MAX_RAW_CHARACTERS]}
        for call in rollout.reply.tool_calls[:8]
    ]
    raw = rollout.reply.content or (tool_calls[0]["arguments"] if tool_calls else "")
    return {
        "obs": {"query": rollout.query, "split": split, "seed": request.env.seed},
        "tool_calls": tool_calls,
        "reward": rollout.score,
        "done": True,
        "truncated": False,
        "info": {**outcome, "output_mode": mode, "raw": raw[:MAX_RAW_CHARACTERS]},
        "output": rollout.predicted,
        "output_mode": mode,
    }
