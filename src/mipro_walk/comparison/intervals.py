"""Means with 95 % intervals: of one prompt over test rows, and of several runs over runs and rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mipro_walk.core.statistics import Verdict

Z95 = 1.959963984540054
RESAMPLES = 4_000
RESAMPLING_SEED = 77

Scores = Sequence[float | None]
"""Scores of one prompt by test row, in the order of the rows; ``None`` where a call failed."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval, as shares of one."""

    value: float
    low: float
    high: float

    def text(self, sign: str = "") -> str:
        """Return it in percent, or in points if it has a sign."""
        return f"{100 * self.value:{sign}.1f} ({100 * self.low:{sign}.1f} to {100 * self.high:{sign}.1f})"

    @property
    def verdict(self) -> Verdict:
        """What the interval of a difference says, in the words of the final test."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "no significant gain"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"value": self.value, "low": self.low, "high": self.high}


def wilson(scores: Scores) -> Interval:
    """Return the mean of the known scores with the interval of a share of right answers."""
    known = [score for score in scores if score is not None]
    return share_of(known_mean(known), len(known))


def share_of(share: float, n: int) -> Interval:
    """Return a share of ``n`` rows; without a row it can be anything from 0 to 1. Too wide for scores between 0 and 1.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22(158).
    """
    if not n:
        return Interval(0.0, 0.0, 1.0)
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + (Z95 / (2 * n)) ** 2)
    return Interval(share, centre - half, centre + half)


def over_runs(scores: Sequence[Scores]) -> Interval:
    """Return the mean over runs (first axis) and rows (second), both drawn anew for the interval.

    Source: pigeonhole bootstrap, Owen 2007, Ann. Appl. Stat. 1(2); it errs on the wide side.

    Raises:
        IndexError: no score is known.
    """
    matrix = np.array(scores, dtype=float)  # None becomes NaN
    rng = np.random.default_rng(RESAMPLING_SEED)
    runs, rows = matrix.shape
    drawn = (matrix[np.ix_(rng.integers(0, runs, runs), rng.integers(0, rows, rows))] for _ in range(RESAMPLES))
    low, high = np.percentile([np.nanmean(scores) for scores in drawn if not np.isnan(scores).all()], [2.5, 97.5])
    return Interval(float(np.nanmean(matrix)), float(low), float(high))


def differences(first: Scores, second: Scores) -> list[float | None]:
    """Return ``first - second`` row by row; ``None`` where either is unknown.

    Raises:
        ValueError: the lists differ in length.
    """
    return [None if a is None or b is None else a - b for a, b in zip(first, second, strict=True)]


def known_mean(scores: Scores) -> float:
    """Return the mean of the known scores, 0 if there are none."""
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else 0.0
