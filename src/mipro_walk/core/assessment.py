"""Whether a measured prompt is good enough: its score with an interval, and the checks that somebody asked for.

A check decides on the point estimate, since that is what repeats: the same recorded calls give the same answer. The
interval and, for a difference, its significance are told beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mipro_walk.core.statistics import PairedComparison, compare_paired, mean_interval
from mipro_walk.counting import counted
from mipro_walk.types import Outcome

ROUNDING = 1e-9
"""Means of the same scores may differ by so much."""


@dataclass(frozen=True, slots=True)
class PromptScore:
    """What a prompt scored.

    Attributes:
        mean: 0..1, over the ``n`` rows that measured something; ``None`` if none did.
        low, high: 95 % interval of the mean.
        unknown: rows that are left out because the call failed.
    """

    mean: float | None
    low: float
    high: float
    n: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Check:
    """One question with its answer, in words."""

    name: str
    passed: bool
    message: str


def score_of(outcomes: Sequence[Outcome]) -> PromptScore:
    """Return the mean score of one prompt's outcomes."""
    scores = [outcome.score for outcome in outcomes if outcome.score is not None]
    low, high = mean_interval(scores)
    mean = sum(scores) / len(scores) if scores else None
    return PromptScore(mean, low, high, len(scores), len(outcomes) - len(scores))


def compare(reference: Sequence[Outcome], prompt: Sequence[Outcome]) -> PairedComparison:
    """Compare two prompts on the same rows: ``difference`` is the prompt's mean minus the reference's."""
    return compare_paired([outcome.score for outcome in reference], [outcome.score for outcome in prompt])


def regressed(reference: Sequence[Outcome], prompt: Sequence[Outcome]) -> list[int]:
    """Return the positions of the rows on which the prompt scored lower than the reference."""
    pairs = zip(reference, prompt, strict=True)
    return [
        index
        for index, (old, new) in enumerate(pairs)
        if old.score is not None and new.score is not None and new.score < old.score
    ]


def assess(
    score: PromptScore,
    comparison: PairedComparison | None,
    *,
    fail_under: float | None,
    max_regression: float | None,
) -> list[Check]:
    """Answer what was asked.

    Args:
        score: of the prompt.
        comparison: with a reference, if there is one.
        fail_under: least score.
        max_regression: by how much the prompt may score lower than the reference; needs ``comparison``.
    """
    checks = []
    if fail_under is not None:
        checks.append(_least_score(score, fail_under))
    if max_regression is not None:
        assert comparison is not None
        checks.append(_regression(comparison, max_regression))
    return checks


def _least_score(score: PromptScore, least: float) -> Check:
    mean = score.mean
    if mean is None:
        return Check("fail-under", False, f"No row was measured; at least {least:g} was asked for.")
    words = f"{mean:.3f} on {counted(score.n, 'row')} (95 % interval {score.low:.3f} to {score.high:.3f})"
    passed = mean >= least - ROUNDING
    verb = "reaches" if passed else "is below"
    doubt = "" if not score.low <= least <= score.high else "; the interval includes the limit, so chance may decide"
    return Check("fail-under", passed, f"{words} {verb} {least:g}{doubt}.")


def _regression(comparison: PairedComparison, most: float) -> Check:
    c = comparison
    words = f"{c.difference:+.3f} on {counted(c.n, 'paired row')} (95 % interval {c.low:+.3f} to {c.high:+.3f})"
    passed = c.n > 0 and c.difference >= -most - ROUNDING
    significance = "significantly worse" if c.verdict == "worse" else "not significantly worse"
    if c.n == 0:
        words = "No row was measured with both prompts"
    verb = "keeps to" if passed else "exceeds"
    return Check("max-regression", passed, f"{words} {verb} a loss of at most {most:g}; {significance}.")
