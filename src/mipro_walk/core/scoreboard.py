"""Known outcomes by candidate and row, and the comparisons that are fair: always on common rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mipro_walk.types import Candidate, Outcome

PRIOR_ROWS = 4.0
"""Weight of the overall mean in a pooled estimate, in rows: a lucky minibatch must not win by being short."""


@dataclass
class Entry:
    """What is known of one candidate on ``val``. ``key`` is ``(instruction index, demo set index)``."""

    key: tuple[int, int]
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
        self.entries: dict[tuple[int, int], Entry] = {}

    def entry(self, key: tuple[int, int], candidate: Candidate) -> Entry:
        """Return the candidate's entry, made empty at first sight."""
        return self.entries.setdefault(key, Entry(key, candidate))

    def next_seeds(self, entry: Entry, count: int) -> list[int]:
        """Return the next ``count`` rows of the common order that this candidate has not answered."""
        return [seed for seed in self.order if seed not in entry.outcomes][: max(0, count)]

    def has_rows_left(self, key: tuple[int, int]) -> bool:
        """Whether a candidate has rows that it has not answered."""
        return key not in self.entries or len(self.entries[key].outcomes) < len(self.order)

    def estimate(self, entry: Entry) -> float:
        """Return the pooled score 0..1: all rows weighted by n, drawn towards the overall mean."""
        return _estimate(entry, self._row_means())

    def ranking(self) -> list[Entry]:
        """Return scored entries, best estimate first; ties go to more rows, then to the lower key."""
        rows = self._row_means()
        scored = [e for e in self.entries.values() if e.n]
        return sorted(scored, key=lambda e: (-_estimate(e, rows), -e.n, e.key))

    def _row_means(self) -> dict[int, float]:
        by_row: dict[int, list[float]] = {}
        for entry in self.entries.values():
            for seed, score in entry.known.items():
                by_row.setdefault(seed, []).append(score)
        return {seed: sum(scores) / len(scores) for seed, scores in by_row.items()}


def _estimate(entry: Entry, rows: Mapping[int, float]) -> float:
    scores = entry.known
    overall = sum(rows.values()) / len(rows) if rows else 0.0
    # Comparing with each row's own mean takes out how hard the rows happened to be.
    lift = sum(score - rows[seed] for seed, score in scores.items())
    return min(1.0, max(0.0, overall + lift / (len(scores) + PRIOR_ROWS)))


def common_scores(entries: Iterable[Entry]) -> dict[tuple[int, int], tuple[float, int]]:
    """Return ``key -> (mean, n)`` of each entry on the rows that all of them know."""
    known = {entry.key: entry.known for entry in entries}
    common = set.intersection(*(set(scores) for scores in known.values())) if known else set()
    if not common:
        return dict.fromkeys(known, (0.0, 0))
    return {key: (sum(scores[s] for s in common) / len(common), len(common)) for key, scores in known.items()}
