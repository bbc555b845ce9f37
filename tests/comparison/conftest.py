"""Runs made up for the tests of what is computed from them."""

from __future__ import annotations

from typing import Any

from mipro_walk.comparison.runs import Run, ValScores
from mipro_walk.types import Candidate, Demonstration, Usage, fingerprint

BASELINE = Candidate("Sort the question.")
BETTER = Candidate("Sort the question by what the customer wants.", (Demonstration("Where is my card?", "card"),))


def as_val(candidate: Candidate, scores: dict[int, float]) -> dict[str, ValScores]:
    demos = fingerprint([[d.query, d.label] for d in candidate.demos])
    return {candidate.prompt_hash: ValScores(fingerprint(candidate.instruction), demos, scores)}


def make_run(method: str = "mipro", rng_seed: int = 0, **changes: Any) -> Run:
    """Return a run that found BETTER after 60 of 100 rollouts: 75 % on 8 test rows, the baseline 25 %."""
    fields: dict[str, Any] = {
        "method": method,
        "rng_seed": rng_seed,
        "rows_hash": "rows",
        "budget": 100,
        "winner": BETTER,
        "scores": (1.0,) * 6 + (0.0,) * 2,
        "baseline_scores": (1.0,) * 2 + (0.0,) * 6,
        "rollouts": 100,
        "proposals": 4,
        "search": {"policy": Usage(100, 5_000, 300, 0.02), "meta": Usage(4, 800, 200, 0.01)},
        "made": {"policy": Usage(110, 5_500, 330, 0.022), "meta": Usage(4, 800, 200, 0.01)},
        "seconds": 12.5,
        "trace": ((0, BASELINE.prompt_hash), (60, BETTER.prompt_hash), (100, BETTER.prompt_hash)),
        "val": as_val(BASELINE, {row: float(row < 5) for row in range(20)})
        | as_val(BETTER, {row: float(row < 15) for row in range(20)}),
    }
    return Run(**{**fields, **changes})
