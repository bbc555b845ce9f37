"""Known outcomes by candidate and row, and the comparisons that are fair: always on common rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mipro_walk.core.pooling import Estimate, Key, Observations, pool
from mipro_walk.types import Candidate, Outcome


@dataclass
class Entry:
    """What is known of one candidate on ``val``. ``key`` is ``(instruction index, demo set index)``."""

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
        self._pooled: dict[Key, Estimate] | None = None
        self._ranked: list[Entry] | None = None

    def entry(self, key: Key, candidate: Candidate) -> Entry:
        """Return the candidate's entry, made empty at first sight."""
        return self.entries.setdefault(key, Entry(key, candidate))

    def record(self, key: Key, seed: int, outcome: Outcome) -> None:
        """Keep how one rollout of a candidate that has an entry ended."""
        self.entries[key].outcomes[seed] = outcome
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
        scored = [entry for entry in self.entries.values() if entry.n]
        index = {seed: position for position, seed in enumerate(self.order)}
        triples = [(c, index[seed], score) for c, e in enumerate(scored) for seed, score in e.known.items()]
        candidate, row, score = zip(*triples, strict=True) if triples else ((), (), ())
        dense = np.unique(np.array(row, dtype=int), return_inverse=True)[1]
        return Observations([e.key for e in scored], np.array(candidate, dtype=int), dense, np.array(score))


def common_scores(entries: Iterable[Entry]) -> dict[Key, tuple[float, int]]:
    """Return ``key -> (mean, n)`` of each entry on the rows that all of them know."""
    known = {entry.key: entry.known for entry in entries}
    common = set.intersection(*(set(scores) for scores in known.values())) if known else set()
    if not common:
        return dict.fromkeys(known, (0.0, 0))
    return {key: (sum(scores[s] for s in common) / len(common), len(common)) for key, scores in known.items()}
