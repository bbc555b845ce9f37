"""One thing against another on the same test rows, and what it says in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mipro_walk.comparison.intervals import Interval, Scores, differences, over_runs
from mipro_walk.core.statistics import Verdict, compare_paired


@dataclass(frozen=True, slots=True)
class Pair:
    """``first`` minus ``second``, row by row, in shares of one.

    Attributes:
        rng_seeds: the rng seeds that both have; empty for two single jobs.
        n: test rows on which both have a score in at least one common run.
        excluded: pairs of answers left out because a call failed.
    """

    first: str
    second: str
    rng_seeds: tuple[int, ...]
    n: int
    excluded: int
    difference: Interval
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, with the sentence that says it."""
        return {**asdict(self), "difference": self.difference.as_dict(), "words": self.words()}

    def words(self) -> str:
        """Return what the pair says, as a sentence."""
        d = self.difference
        many = len(self.rng_seeds) > 1
        where = f"on the same {self.n} test rows" + (f", mean of {len(self.rng_seeds)} rng seeds" if many else "")
        if d.value == d.low == d.high == 0:
            return f"No difference: {self.first} and {self.second} have the same score on every row, {where}."
        found = f"{in_points(d.value)} points (95 % interval {in_points(d.low)} to {in_points(d.high)}) {where}"
        if self.verdict == "better":
            return f"{self.first} scored higher than {self.second}: {found}."
        if self.verdict == "worse":
            return f"{self.first} scored lower than {self.second}: {found}."
        return f"No difference between {self.first} and {self.second} that these rows can show: {found}."


def pair_of(
    first: str, second: str, scores: Sequence[tuple[Scores, Scores]], rng_seeds: Sequence[int] = ()
) -> Pair | None:
    """Return the pair of two names from ``(first's scores, second's scores)`` of each common run.

    One run gets the interval and the verdict of the final test, which cover the choice of rows; several get an interval
    that covers rows and rng seeds. ``None`` if there is no run, or no row with both scores.
    """
    by_run = [differences(a, b) for a, b in scores]
    known = sum(value is not None for run in by_run for value in run)
    if not known:
        return None
    n = sum(any(value is not None for value in row) for row in zip(*by_run, strict=True))
    excluded = sum(len(run) for run in by_run) - known
    if len(by_run) > 1:
        difference = over_runs(by_run)
        return Pair(first, second, tuple(rng_seeds), n, excluded, difference, difference.verdict)
    compared = compare_paired(scores[0][1], scores[0][0])
    difference = Interval(compared.difference, compared.low, compared.high)
    return Pair(first, second, tuple(rng_seeds), n, excluded, difference, compared.verdict)


def in_points(difference: float) -> str:
    """Return a difference of scores in points with its sign: 0.043 is ``+4.3``."""
    value = round(100 * difference, 1)
    return f"{value:+.1f}" if value else "0.0"
