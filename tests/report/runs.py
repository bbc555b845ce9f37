"""Documents of finished runs: made by the real optimizer on a scripted landscape, with metadata as a job's."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from mipro_walk.core.algorithms import Writer, run_algorithm
from mipro_walk.core.optimizer import optimize
from mipro_walk.core.result import RunResult
from mipro_walk.core.settings import GepaSettings, OptimizerSettings
from mipro_walk.results.documents import build_documents, build_metadata
from mipro_walk.results.names import JOB_METADATA, SCORE_HISTORY
from mipro_walk.types import Task
from tests.fakes.landscape import Landscape, ScriptedProposer, make_task, sentence, unit

MODEL = {"provider": "local", "model": "smol", "temperature": 0.0, "max_completion_tokens": 20, "output_mode": "text"}
USED = {"calls": 60, "prompt_tokens": 9000, "completion_tokens": 300, "cost_usd": 0.0123}
PHASES = ("Bootstrap", "Search", "Final test", "Ablation")


def finished_run(settings: OptimizerSettings | None = None, rows: int = 60) -> dict[str, Any]:
    """Return the documents of a run; the caller may change them. Runs of equal settings are made once."""
    return copy.deepcopy(_run(settings or OptimizerSettings(num_demos=3), rows))


def large_run(trials: int = 1_000, instructions: int = 200, demo_sets: int = 100) -> dict[str, Any]:
    """Return the documents of a run of so many trials, its search made up: the optimizer itself would take a minute."""
    run = finished_run(OptimizerSettings(num_demos=3, test_size=500), rows=500)
    history = run[SCORE_HISTORY]
    history["iterations"] = [_trial(number, trials, instructions, demo_sets) for number in range(trials)]
    history["instructions"] = [
        {"index": i, "text": " ".join(sentence("text", i, part) for part in range(12)), "source": "meta-model"}
        for i in range(instructions)
    ]
    history["demo_sets"] = [{"index": i, "builder": "random", "seeds": list(range(10))} for i in range(demo_sets)]
    last = history["iterations"][-1]
    history["finalists"] = [{**last, "split": "val", "score": last["minibatch_score"], "n": last["num_seeds"]}]
    return run


def _trial(number: int, trials: int, instructions: int, demo_sets: int) -> dict[str, Any]:
    score, place = unit("score", number), (unit("i", number), unit("d", number))
    return {
        "iteration": number,
        "rung": number * 8 // trials,
        "instruction": int(place[0] * instructions),
        "demo_set": int(place[1] * demo_sets),
        "minibatch_score": score,
        "num_seeds": 5 + number % 20,
        "unknown": 0,
        "seeds": list(range(5 + number % 20)),
        "status": "complete",
        "startup": number < trials // 2,
        "estimate": 0.3 + 0.4 * score,
        "estimate_sd": 0.05,
        "best_score": 0.5 + 0.4 * number / trials,
    }


@cache
def _run(settings: OptimizerSettings, rows: int) -> dict[str, Any]:
    task = make_task(train=rows, val=rows, test=rows)
    return _documents(task, optimize(task, Landscape(), ScriptedProposer(), settings))


def finished_gepa_run() -> dict[str, Any]:
    """Return the documents of a run of GEPA."""
    task, settings = make_task(), GepaSettings(budget=400)
    writer = Writer("both", lambda messages, _: f"Sort with care, as in case {len(str(messages))}.")
    return _documents(task, run_algorithm(task, Landscape(instruction_gain=0.7), writer, settings))


def _documents(task: Task, result: RunResult) -> dict[str, Any]:
    forecast = {"calls": 50, "proposals": 4, "prompt_tokens": 8000, "completion_tokens": 250}
    cost = {"low": 0.001, "expected": 0.01, "high": 0.1}
    metadata = build_metadata(
        algorithm=result.algorithm,
        job_id="pl_0123456789abcdef",
        created_at="2026-11-25T01:43:56.487363+00:00",
        started_at=None,
        seconds=125.3,
        stop_reason=result.stop_reason,
        config={"prompt_learning": {"algorithm": result.algorithm, result.algorithm: {"online_pool": list(range(30))}}},
        config_hash="c" * 64,
        rng_seed=0,
        plan=result.plan.as_dict(),
        usage={"policy": USED, "meta": {**USED, "calls": 4}},
        forecast={"phases": [{"name": name, **forecast, "cost_usd": cost} for name in PHASES], "cost_usd": cost},
        usage_by_phase=dict.fromkeys(PHASES[:3], USED),
        models={"policy": MODEL, "meta": {"provider": "openai", "model": "gpt-4o-mini"}},
        data={
            "source": "sample: made up",
            "dataset_hash": "d" * 64,
            "split_hash": result.data.split_hash,
            "rows": result.data.rows,
            "dropped": 2,
        },
        versions={"mipro-walk": "0.1.0", "python": "3.11.7"},
        warnings=["The label refund has no row in train."],
    )
    return {**build_documents(task, result, MODEL), JOB_METADATA: metadata}
