"""The JSON bodies the app answers with: task description, task information per seed, rollout result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from .data import SPLITS, Row, TaskData, TaskSlice, hash_slice, slice_name
from .policy import DEFAULT_DEADLINE_SECONDS, MAX_DEADLINE_SECONDS
from .prompts import BASELINE_INSTRUCTION, own_templates
from .schemas import RolloutRequest
from .scoring import OUTPUT_MODES, ModelReply, OutputMode, Score

TASK_APP_ID: Final = "banking77_intent_classification"
TASK_VERSION: Final = "1.0.0"
ENVIRONMENT: Final = "banking77"
DEFAULT_SPLIT: Final = "train"
MAX_SEEDS: Final = 10_000
MAX_RAW_CHARACTERS: Final = 2_000

Json = dict[str, Any]

TASK: Final[Json] = {
    "id": TASK_APP_ID,
    "name": "Banking77 intent classification",
    "description": "Name the one intent that a bank customer's message expresses.",
    "version": TASK_VERSION,
}
RUBRIC: Final[Json] = {
    "outcome": {"name": "Intent accuracy", "criteria": "1 if the named intent is the expected one, else 0"},
    "events": None,
}
LIMITS: Final[Json] = {
    "max_turns": 1,
    "max_response_tokens": None,
    "timeout_seconds": int(DEFAULT_DEADLINE_SECONDS),
    "max_timeout_seconds": int(MAX_DEADLINE_SECONDS),
    "max_seeds_per_call": MAX_SEEDS,
}


@dataclass(frozen=True, slots=True)
class Rollout:
    """One finished rollout, ready to be written down."""

    request: RolloutRequest
    split: str
    row: Row
    mode: OutputMode
    reply: ModelReply
    score: Score
    inference_url: str
    trace_correlation_id: str | None


def info_document(data: TaskData) -> Json:
    """Body of `GET /info`."""
    whole = data.slice()
    return {
        "service": {"task": TASK, "version": TASK_VERSION},
        "dataset": _dataset(data, whole),
        "rubrics": RUBRIC,
        "inference": {"output_modes": list(OUTPUT_MODES)},
        "limits": LIMITS,
    }


def task_document(data: TaskData, task_slice: TaskSlice) -> Json:
    """Body of `GET /task_info` without seeds."""
    return {
        "task_app_id": TASK_APP_ID,
        "dataset_size": len(task_slice.pools["test"].rows),
        "labels": list(task_slice.labels),
        "splits": {name: {"rows": len(pool.rows), "sha256": pool.sha256} for name, pool in task_slice.pools.items()},
        "source": {
            "name": data.source.name,
            "detail": data.source.detail,
            "licence": data.source.licence,
            "notes": list(data.notes),
        },
        "task": TASK,
        "prompt": {
            "instruction": BASELINE_INSTRUCTION,
            "messages": own_templates("tool_calls"),
            "text_messages": own_templates("text"),
        },
        "output_modes": list(OUTPUT_MODES),
        "default_split": DEFAULT_SPLIT,
        "taskset": _dataset(data, task_slice),
    }


def seed_documents(data: TaskData, task_slice: TaskSlice, split: str, seeds: list[int]) -> list[Json]:
    """One TaskInfo for each seed, `len(result) == len(seeds)`, in the asked order. Seeds must be in range."""
    rows = task_slice.pool(split).rows
    common: Json = {
        "task": TASK,
        "environment": ENVIRONMENT,
        "dataset": _dataset(data, task_slice),
        "rubric": RUBRIC,
        "inference": {"model": None, "inference_url": None},
        "limits": LIMITS,
    }
    return [
        {
            **common,
            "task_metadata": {
                "seed": seed,
                "split": split,
                "query": rows[seed].text,
                "label": rows[seed].label,
            },
        }
        for seed in seeds
    ]


def rollout_document(rollout: Rollout) -> Json:
    """Body of `POST /rollout`. `metrics.mean_return` is the score, 0.0 or 1.0."""
    request, score = rollout.request, rollout.score
    outcome = {
        "expected": rollout.row.label,
        "predicted": score.predicted,
        "correct": score.reward == 1.0,
        "reason": score.reason,
    }
    tool_calls = [
        {"name": call.name[:MAX_RAW_CHARACTERS], "arguments": call.arguments[:MAX_RAW_CHARACTERS]}
        for call in rollout.reply.tool_calls[:8]
    ]
    raw = rollout.reply.content or (tool_calls[0]["arguments"] if tool_calls else "")
    step = {
        "obs": {"query": rollout.row.text, "split": rollout.split, "seed": request.env.seed},
        "tool_calls": tool_calls,
        "reward": score.reward,
        "done": True,
        "truncated": False,
        "info": {**outcome, "output_mode": rollout.mode, "raw": raw[:MAX_RAW_CHARACTERS]},
        "output": score.predicted,
        "output_mode": rollout.mode,
    }
    trajectory = {
        "env_id": request.env.env_id or request.env.env_name or ENVIRONMENT,
        "policy_id": request.policy.policy_id or request.policy.policy_name or "policy",
        "steps": [step],
        "length": 1,
        "inference_url": rollout.inference_url,
        "trace_correlation_id": rollout.trace_correlation_id,
        "final": {"reward": score.reward, "done": True},
    }
    return {
        "run_id": request.run_id,
        "trajectories": [trajectory],
        "metrics": {
            "episode_returns": [score.reward],
            "mean_return": score.reward,
            "num_steps": 1,
            "num_episodes": 1,
            "outcome_score": score.reward,
            "details": {"seed": request.env.seed, "split": rollout.split, **outcome},
        },
        "branches": {},
        "aborted": False,
        "ops_executed": 1,
        "trace_correlation_id": rollout.trace_correlation_id,
        "trace": None,
        "pipeline_metadata": {
            "trace_correlation_id": rollout.trace_correlation_id,
            "inference_url": rollout.inference_url,
        },
    }


def _dataset(data: TaskData, task_slice: TaskSlice) -> Json:
    return {
        "id": f"{ENVIRONMENT}/{data.source.name}",
        "name": ENVIRONMENT,
        "version": hash_slice(task_slice)[:16],
        "splits": list(SPLITS),
        "default_split": DEFAULT_SPLIT,
        "slice": slice_name(task_slice.labels, data.labels),
        "num_labels": len(task_slice.labels),
    }
