"""``best_prompt.json``, ``score_history.json``, ``selected_demos.json``, ``explanations.json``: a run as plain data.

They hold nothing that depends on the clock, on money or on the job's id: the same run gives the same bytes,
interrupted or not. What does depend on them is in ``job_metadata.json``. Shapes: ``docs/results.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mipro_walk.core.pinned import PinnedCheck
from mipro_walk.core.result import OptimizationResult, TestResult
from mipro_walk.core.scoreboard import common_scores
from mipro_walk.core.search_space import BASELINE
from mipro_walk.core.statistics import detectable_difference, rows_needed
from mipro_walk.prompting import candidate_messages
from mipro_walk.results.explanations import explain
from mipro_walk.results.names import BEST_PROMPT, EXPLANATIONS, SCORE_HISTORY, SELECTED_DEMOS
from mipro_walk.types import Candidate, Task

SCHEMA_VERSION = 1

Document = dict[str, Any]


def build_documents(
    task: Task,
    result: OptimizationResult,
    model: Mapping[str, Any],
    requests: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Document]:
    """Return the documents that follow from the run alone, by file name.

    ``model`` describes the policy model: provider, model, temperature, max_completion_tokens, output_mode.
    ``requests`` holds the request that reached the model, by the prompt's hash, with a placeholder for the query.
    """
    return {
        BEST_PROMPT: _best_prompt(task, result, model, requests or {}),
        SCORE_HISTORY: _score_history(result),
        SELECTED_DEMOS: _selected_demos(result),
        EXPLANATIONS: {**_header("explanations"), "task": task.name, **explain(task, result)},
    }


def build_metadata(**fields: Any) -> Document:
    """Return ``job_metadata.json`` with its header."""
    return {**_header("job_metadata"), **fields}


def _best_prompt(
    task: Task, result: OptimizationResult, model: Mapping[str, Any], requests: Mapping[str, Mapping[str, Any]]
) -> Document:
    recommended = result.recommended
    entry = result.board.entries.get(result.winner_key)
    return {
        **_header("best_prompt"),
        "task": task.name,
        "recommendation": result.recommendation,
        "instruction": {"role": "system", "content": recommended.instruction},
        "demonstrations": _demos(recommended),
        "messages": candidate_messages(recommended),
        "request": requests.get(recommended.prompt_hash),
        "model": dict(model),
        "score": _test_score(result.test),
        "pinned": _pinned(result.pinned),
        "search_score": None if entry is None else {"split": "val", "mean": entry.mean, "n": entry.n},
        "baseline": _prompt(result.baseline, requests),
        "winner": {
            **_prompt(result.winner, requests),
            "instruction_source": result.space.instructions[result.winner_key[0]].source,
            "demo_builder": result.space.demo_sets[result.winner_key[1]].builder,
        },
    }


def _score_history(result: OptimizationResult) -> Document:
    baseline = result.board.entries[BASELINE]
    first = result.plan.minibatch
    scores = [o.score for o in list(baseline.outcomes.values())[:first] if o.score is not None]
    return {
        **_header("score_history"),
        "split_hash": result.data.split_hash,
        "plan": result.plan.as_dict(),
        "baseline": {"split": "val", "score": sum(scores) / len(scores) if scores else None, "n": len(scores)},
        "iterations": [trial.as_dict() for trial in result.trials],
        "finalists": _finalists(result),
        "test": _test_score(result.test),
        "stop_reason": result.stop_reason,
        "rollouts": result.rollouts,
        "instructions": [
            {"index": index, "text": instruction.text, "source": instruction.source}
            for index, instruction in enumerate(result.space.instructions)
        ],
        "demo_sets": [
            {"index": index, "builder": demo_set.builder, "seeds": list(demo_set.seeds)}
            for index, demo_set in enumerate(result.space.demo_sets)
        ],
        "refused": dict(sorted(result.refused.items())),
    }


def _selected_demos(result: OptimizationResult) -> Document:
    index = result.winner_key[1] if result.recommendation == "winner" else BASELINE[1]
    demo_set = result.space.demo_sets[index]
    pairs = zip(demo_set.seeds, demo_set.demos, strict=True)
    return {
        **_header("selected_demos"),
        "split": "train",
        "builder": demo_set.builder,
        "demonstrations": [{"seed": seed, "query": demo.query, "label": demo.label} for seed, demo in pairs],
    }


def _finalists(result: OptimizationResult) -> list[Document]:
    common, estimates = common_scores(result.finalists), result.board.estimates()
    return [
        {
            "instruction": e.key[0],
            "demo_set": e.key[1],
            "split": "val",
            "estimate": estimates[e.key].mean,
            "score": common[e.key][0],
            "n": common[e.key][1],
        }
        for e in result.finalists
    ]


def _test_score(test: TestResult | None) -> Document | None:
    if test is None:
        return None
    c = test.comparison
    return {
        "split": "test",
        "n": c.n,
        "baseline": c.baseline,
        "winner": c.candidate,
        "difference": c.difference,
        "low": c.low,
        "high": c.high,
        "p_value": c.p_value,
        "gained": c.gained,
        "lost": c.lost,
        "excluded": c.excluded,
        "cautious_low": c.cautious_low,
        "cautious_high": c.cautious_high,
        "could_turn": c.could_turn,
        "verdict": c.verdict,
        "discordance": c.discordance,
        "detectable_difference": detectable_difference(c.n, c.discordance),
        "rows_needed": rows_needed(c.difference, c.discordance) if c.difference else None,
    }


def _pinned(check: PinnedCheck | None) -> Document | None:
    """Return what became of the rows that must not get worse. They are in no score."""
    if check is None:
        return None
    shown: dict[str, list[Document]] = {"broken": [], "unknown": []}
    for pinned in check.rows:
        if pinned.status != "held":
            shown[pinned.status].append(
                {
                    "seed": pinned.row.seed,
                    "query": pinned.row.query,
                    "label": pinned.row.label,
                    "baseline": {"answer": pinned.baseline.predicted, "score": pinned.baseline.score},
                    "winner": {"answer": pinned.winner.predicted, "score": pinned.winner.score},
                }
            )
    return {"n": len(check.rows), "held": check.count("held"), "holds": check.holds, **shown}


def _prompt(candidate: Candidate, requests: Mapping[str, Mapping[str, Any]]) -> Document:
    return {
        "instruction": candidate.instruction,
        "demonstrations": _demos(candidate),
        "request": requests.get(candidate.prompt_hash),
    }


def _demos(candidate: Candidate) -> list[Document]:
    return [{"query": demo.query, "label": demo.label} for demo in candidate.demos]


def _header(kind: str) -> Document:
    return {"schema_version": SCHEMA_VERSION, "kind": f"mipro_walk.{kind}"}
