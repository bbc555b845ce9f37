"""The JSON bodies of this task: its description, and task information per seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from task_apps.serving.contract import OUTPUT_MODES, Json
from task_apps.serving.documents import DEFAULT_SPLIT, LIMITS

from .data import SPLITS, TaskData, TaskSlice, hash_slice, slice_name
from .prompts import BASELINE_INSTRUCTION, own_templates

TASK_APP_ID: Final = "banking77_intent_classification"
TASK_VERSION: Final = "1.0.0"
ENVIRONMENT: Final = "banking77"

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


def seed_documents(data: TaskData, task_slice: TaskSlice, split: str, seeds: Sequence[int]) -> list[Json]:
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
