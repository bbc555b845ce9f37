"""``best_prompt.json``, ``score_history.json``, ``selected_demos.json``, ``explanations.json``: a run as plain data.

They hold nothing that depends on the clock, on money or on the job's id: the same run gives the same bytes,
interrupted or not. What does depend on them is in ``job_metadata.json``. Shapes: ``docs/results.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mipro_walk.core.gepa_search.records import GepaResult
from mipro_walk.core.pinned import PinnedCheck
from mipro_walk.core.result import OptimizationResult, RunResult, TestResult
from mipro_walk.core.scoreboard import common_scores
from mipro_walk.core.search_space import DemoSet, Instruction
from mipro_walk.core.statistics import detectable_difference, rows_needed
from mipro_walk.prompting import candidate_messages
from mipro_walk.results.explanations import explain
from mipro_walk.results.names import BEST_PROMPT, EXPLANATIONS, SCORE_HISTORY, SELECTED_DEMOS
from mipro_walk.types import Candidate, Task, fingerprint

SCHEMA_VERSION = 1

Document = dict[str, Any]


def build_documents(
    task: Task,
    result: RunResult,
    model: Mapping[str, Any],
    requests: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Document]:
    """Return the documents that follow from the run alone, by file name.

    ``model`` describes the policy model: provider, model, temperature, max_completion_tokens, output_mode.
    ``requests`` holds the request that reached the model, by the prompt's hash, with a placeholder for the query.
    """
    return {
        BEST_PROMPT: _best_prompt(task, result, model, requests or {}),
        SCORE_HISTORY: _score_history(task, result),
        SELECTED_DEMOS: _selected_demos(result),
        EXPLANATIONS: {**_header("explanations"), "task": task.name, **explain(task, result)},
    }


def build_metadata(**fields: Any) -> Document:
    """Return ``job_metadata.json`` with its header."""
    return {**_header("job_metadata"), **fields}


def _best_prompt(
    task: Task, result: RunResult, model: Mapping[str, Any], requests: Mapping[str, Mapping[str, Any]]
) -> Document:
    recommended, outcome = result.recommended, outcome_of(result)
    return {
        **_header("best_prompt"),
        "algorithm": result.algorithm,
        "task": task.name,
        "recommendation": outcome["recommendation"],
        "instruction": {"role": "system", "content": recommended.instruction},
        "demonstrations": _demos(recommended),
        "messages": candidate_messages(recommended),
        "request": requests.get(recommended.prompt_hash),
        "model": dict(model),
        "score": outcome["score"],
        "pinned": outcome["pinned"],
        "search_score": outcome["search_score"],
        "baseline": _prompt(result.baseline, requests),
        "winner": {
            **_prompt(result.winner, requests),
            "instruction_source": result.winner_source,
            "demo_builder": result.winner_demos.builder,
        },
    }


def outcome_of(result: RunResult) -> Document:
    """Return which prompt is recommended and what that rests on."""
    found = result.scored.get(result.winner)
    return {
        "recommendation": result.recommendation,
        "score": _test_score(result.test),
        "pinned": _pinned(result.pinned),
        "search_score": None if found is None else {"split": "val", "mean": found.mean, "n": found.n},
    }


def _score_history(task: Task, result: RunResult) -> Document:
    """Return what both algorithms say in common, then what is their own."""
    own = _gepa_history(result) if isinstance(result, GepaResult) else _mipro_history(result)
    return {
        **_header("score_history"),
        "algorithm": result.algorithm,
        "split_hash": result.data.split_hash,
        "plan": result.plan.as_dict(),
        **own,
        "test": _test_score(result.test),
        "test_rows": _test_rows(task, result.test),
        "stop_reason": result.stop_reason,
        "rollouts": result.rollouts,
        "refused": dict(sorted(result.refused.items())),
    }


def _mipro_history(result: RunResult) -> Document:
    assert isinstance(result, OptimizationResult)
    baseline = result.board.entries[result.baseline_key]
    (prompt,) = result.space.stages
    first = result.plan.minibatch
    scores = [o.score for o in list(baseline.outcomes.values())[:first] if o.score is not None]
    return {
        "baseline": {"split": "val", "score": sum(scores) / len(scores) if scores else None, "n": len(scores)},
        "iterations": [trial.as_dict() for trial in result.trials],
        "finalists": _finalists(result),
        "instructions": [_instruction(index, found) for index, found in enumerate(prompt.instructions)],
        "demo_sets": [
            {"index": index, "builder": demo_set.builder, "seeds": list(demo_set.seeds)}
            for index, demo_set in enumerate(prompt.demo_sets)
        ],
    }


def _gepa_history(result: GepaResult) -> Document:
    baseline = result.tried[0].score
    return {
        "baseline": {"split": "val", "score": baseline.mean, "n": baseline.n},
        "iterations": [step.as_dict() for step in result.steps],
        "instructions": [
            {
                **_instruction(tried.index, tried.instruction),
                "parent": tried.parent,
                "val": {"score": tried.score.mean, "n": tried.score.n} if tried.is_member else None,
            }
            for tried in result.tried
        ],
        "pareto_front": list(result.pareto_front),
    }


def _instruction(index: int, instruction: Instruction) -> Document:
    return {"index": index, "text": instruction.text, "source": instruction.source}


def _selected_demos(result: RunResult) -> Document:
    is_winner = result.recommendation == "winner"
    demo_set = result.winner_demos if is_winner else DemoSet((), (), "empty")
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


def _test_rows(task: Task, test: TestResult | None) -> Document | None:
    """Return each test row's scores, so that two runs on the same rows can be compared row by row."""
    if test is None:
        return None
    rows = {row.seed: row for row in task.test}
    return {
        "rows_hash": fingerprint([[seed, rows[seed].query, rows[seed].label] for seed in test.seeds]),
        "seeds": list(test.seeds),
        "baseline": [outcome.score for outcome in test.baseline],
        "winner": [outcome.score for outcome in test.winner],
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
