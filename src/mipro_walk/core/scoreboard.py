"""Known outcomes by candidate and row, and the comparisons that are fair: always on common rows."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mipro_walk.core.pooling import Estimate, Observations, pool
from mipro_walk.core.search_space import Key
from mipro_walk.types import Candidate, Outcome


@dataclass
class Entry:
    """What is known of one candidate on ``val``."""

    key: Key
    candidate: Candidate
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    trials: list[int] = field(default_factory=list)

    @property
    def known(self) -> dict[int, float]:
        """Scores by seed, unknown outcomes left out."""
        return {seed: o.score for seed, o in self.outcomes.items() if o.score is not None}

    @property
    def n(self) -> int:
        """Rows with a known score."""
        return len(self.known)

    @property
    def mean(self) -> float | None:
        """Mean of the known scores; ``None`` if there are none."""
        scores = self.known.values()
        return sum(scores) / len(scores) if scores else None


class Scoreboard:
    """Every candidate that was scored on ``val``.

    ``order`` is the one row order of the split; every candidate is scored on a prefix of it, so any two
    share rows and rows that were paid for are never bought again.
    """

    def __init__(self, order: Sequence[int]) -> None:
        self.order = tuple(order)
        self.entries: dict[Key, Entry] = {}
        self._position = {seed: position for position, seed in enumerate(self.order)}
        self._scored: dict[Key, int] = {}
        # Known scores once more, as the pooled estimate wants them: reading them out of ten thousand entries for each
        # estimate would take longer than the estimate.
        self._candidate, self._row, self._score = array("q"), array("q"), array("d")
        self._pooled: dict[Key, Estimate] | None = None
        self._ranked: list[Entry] | None = None

    def entry(self, key: Key, candidate: Candidate) -> Entry:
        """Return the candidate's entry, made empty at first sight."""
        return self.entries.setdefault(key, Entry(key, candidate))

    def record(self, key: Key, seed: int, outcome: Outcome) -> None:
        """Keep how one rollout of a candidate that has an entry ended. Each row is recorded once for a candidate."""
        self.entries[key].outcomes[seed] = outcome
        if outcome.score is not None:
            self._candidate.append(self._scored.setdefault(key, len(self._scored)))
            self._row.append(self._position[seed])
            self._score.append(outcome.score)
        self._pooled = self._ranked = None

    def rows_of(self, key: Key) -> int:
        """Return how many rows of the order a candidate has answered, unknown outcomes included."""
        return len(self.entries[key].outcomes) if key in self.entries else 0

    def has_rows_left(self, key: Key) -> bool:
        """Whether a candidate has rows that it has not answered."""
        return self.rows_of(key) < len(self.order)

    def estimates(self) -> dict[Key, Estimate]:
        """Return the pooled estimate of every candidate with a known score (see :mod:`.pooling`)."""
        if self._pooled is None:
            self._pooled = pool(self._observations())
        return self._pooled

    def ranking(self) -> list[Entry]:
        """Return scored entries, best estimate first; ties go to more rows, then to the lower key."""
        if self._ranked is None:
            estimates = self.estimates()
            scored = [self.entries[key] for key in estimates]
            self._ranked = sorted(scored, key=lambda e: (-estimates[e.key].mean, -e.n, e.key))
        return self._ranked

    def _observations(self) -> Observations:
        dense = np.unique(np.array(self._row), return_inverse=True)[1]
        return Observations(list(self._scored), np.array(self._candidate), dense, np.array(self._score))


def common_scores(entries: Iterable[Entry]) -> dict[Key, tuple[float, int]]:
    """Return ``key -> (mean, n)`` of each entry on the rows that all of them know."""
    known = {entry.key: entry.known for entry in entries}
    common = set.intersection(*(set(scores) for scores in known.values())) if known else set()
    if not common:
        return dict.fromkeys(known, (0.0, 0))
    return {key: (sum(scores[s] for s in common) / len(common), len(common)) for key, scores in known.items()}
