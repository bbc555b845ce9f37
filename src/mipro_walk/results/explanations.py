"""Why the scores are what they are: what helped, which labels moved, which rows changed, what is confused.

All of it is read from recorded outcomes. *Right* means a score of 1. Rows with an unknown outcome are left out of
whatever compares them, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from mipro_walk.core.ablation import Ablation
from mipro_walk.core.importance import Importance, axis_importance
from mipro_walk.core.result import OptimizationResult, RunResult, TestResult
from mipro_walk.core.search_space import BASELINE
from mipro_walk.core.statistics import compare_paired, spearman
from mipro_walk.types import Example, Outcome, Task

Document = dict[str, Any]
SECOND_RATING = "second rating"
"""The figure that holds a judge's second rating of the same answer."""
PLACES = 6


@dataclass(frozen=True, slots=True)
class Pair:
    """One test row with what both prompts answered; both outcomes are known."""

    row: Example
    baseline: Outcome
    winner: Outcome


def explain(task: Task, result: RunResult) -> Document:
    """Return the explanations of a run as plain data.

    ``ablation``, ``importance``, ``test``, ``labels`` and ``confusions`` are ``None`` where they do not apply: no
    test, a task whose answers are free text, or an algorithm that changes the instruction only.
    """
    test = result.test
    pairs = [] if test is None else _known_pairs(task, test)
    has_labels = bool(task.labels) and test is not None
    return {
        "ablation": _ablation(result.ablation),
        "importance": _importance(axis_importance(result.board, result.space))
        if isinstance(result, OptimizationResult)
        else None,
        "test": None if test is None else {"split": "test", "n": len(pairs), "unknown": len(test.seeds) - len(pairs)},
        "labels": _labels(task, pairs) if has_labels else None,
        "fixed": [_row(pair) for pair in pairs if not _is_right(pair.baseline) and _is_right(pair.winner)],
        "broken": [_row(pair) for pair in pairs if _is_right(pair.baseline) and not _is_right(pair.winner)],
        "confusions": _confusions(pairs) if has_labels else None,
        "figures": _figures(pairs) or None,
        "correlation": _correlation(pairs) if task.kind == "rating" and test is not None else None,
        "judge": _judge(pairs, result.winner_key != BASELINE) if task.kind == "judged" and test is not None else None,
    }


def _figures(pairs: Sequence[Pair]) -> list[Document]:
    """Return the means of further measures over the rows that have them for both prompts."""
    names = {name: None for pair in pairs for name in pair.baseline.figures if name != SECOND_RATING}
    found = []
    for name in names:
        both = [
            (p.baseline.figures[name], p.winner.figures[name])
            for p in pairs
            if name in p.baseline.figures and name in p.winner.figures
        ]
        if both:
            before, after = (round(fmean(column), PLACES) for column in zip(*both, strict=True))
            found.append({"name": name, "baseline": before, "winner": after, "n": len(both)})
    return found


def _correlation(pairs: Sequence[Pair]) -> Document:
    """Return Spearman's rank correlation of answered and right ratings, of the rows whose answer is a number."""
    found: Document = {"method": "Spearman"}
    for who in ("baseline", "winner"):
        answers = [(getattr(pair, who).predicted, pair.row.label) for pair in pairs]
        known = [(float(answer), float(label)) for answer, label in answers if answer is not None]
        found[who] = {"value": spearman(known), "n": len(known)}
    return found


def _judge(pairs: Sequence[Pair], are_two: bool) -> Document:
    """Return how far two ratings of the same answer by the same judge lie apart, on the scale of scores."""
    # Where the winner is the baseline, both stand for one answer that was rated.
    outcomes = [pair.baseline for pair in pairs] + ([pair.winner for pair in pairs] if are_two else [])
    apart = [abs((o.score or 0.0) - o.figures[SECOND_RATING]) for o in outcomes if SECOND_RATING in o.figures]
    return {
        "answers": len(outcomes),
        "rated_twice": len(apart),
        "mean_difference": round(fmean(apart), PLACES) if apart else None,
        "largest_difference": round(max(apart), PLACES) if apart else None,
        "different": len({outcome.score for outcome in outcomes if outcome.score is not None}),
        "same": sum(difference == 0.0 for difference in apart),
    }


def _known_pairs(task: Task, test: TestResult) -> list[Pair]:
    rows = {row.seed: row for row in task.test}
    answers = zip(test.seeds, test.baseline, test.winner, strict=True)
    return [Pair(rows[seed], b, w) for seed, b, w in answers if b.is_known and w.is_known]


def _is_right(outcome: Outcome) -> bool:
    return outcome.score is not None and outcome.score >= 1.0


def _ablation(ablation: Ablation | None) -> Document | None:
    if ablation is None:
        return None
    cells = [
        {
            "prompt": cell.name,
            "score": cell.comparison.candidate,
            "n": cell.comparison.n,
            "difference": cell.comparison.difference,
            "low": cell.comparison.low,
            "high": cell.comparison.high,
            "verdict": cell.comparison.verdict,
            "reused": cell.reused,
        }
        for cell in ablation.cells
        if ablation.n
    ]
    return {
        "split": "test",
        "n": ablation.n,
        "excluded": ablation.excluded,
        "skipped": ablation.skipped or None,
        "prompts": cells,
    }


def _importance(importance: Importance) -> Document:
    return {"method": "PED-ANOVA", **asdict(importance), "reason": importance.reason or None}


def _labels(task: Task, pairs: Sequence[Pair]) -> list[Document]:
    """Return every label that the test rows have, most gained first, most lost last."""
    by_label: dict[str, list[Pair]] = {label: [] for label in task.labels}
    for pair in pairs:
        by_label.setdefault(pair.row.label, []).append(pair)
    found = [_label(label, members) for label, members in by_label.items() if members]
    return sorted(found, key=lambda entry: -entry["change"])


def _label(label: str, pairs: Sequence[Pair]) -> Document:
    before = [float(_is_right(pair.baseline)) for pair in pairs]
    after = [float(_is_right(pair.winner)) for pair in pairs]
    return {
        "label": label,
        "n": len(pairs),
        "baseline_right": int(sum(before)),
        "winner_right": int(sum(after)),
        "change": int(sum(after) - sum(before)),
        "verdict": compare_paired(before, after).verdict,
    }


def _row(pair: Pair) -> Document:
    return {
        "seed": pair.row.seed,
        "query": pair.row.query,
        "label": pair.row.label,
        "baseline": pair.baseline.predicted,
        "winner": pair.winner.predicted,
    }


def _confusions(pairs: Sequence[Pair]) -> Document:
    return {
        "baseline": _confused((pair.row.label, pair.baseline) for pair in pairs),
        "winner": _confused((pair.row.label, pair.winner) for pair in pairs),
    }


def _confused(answers: Iterable[tuple[str, Outcome]]) -> list[Document]:
    """Return what was answered instead of what, most frequent first; an answer of ``None`` could not be read."""
    counted = Counter((label, outcome.predicted) for label, outcome in answers if not _is_right(outcome))
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0][0], item[0][1] or ""))
    return [{"expected": label, "answered": answer, "times": times} for (label, answer), times in ordered]
