"""Pinned rows: what must not get worse. Scored beside the test, in no mean and no verdict; they can only object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mipro_walk.types import Example, Outcome

Status = Literal["held", "broken", "unknown"]


@dataclass(frozen=True, slots=True)
class PinnedRow:
    """One pinned row with what both prompts answered."""

    row: Example
    baseline: Outcome
    winner: Outcome

    @property
    def status(self) -> Status:
        """``broken`` if the winner scores less; ``unknown`` if a call failed, so that nothing is known."""
        if self.baseline.score is None or self.winner.score is None:
            return "unknown"
        return "broken" if self.winner.score < self.baseline.score else "held"


@dataclass(frozen=True, slots=True)
class PinnedCheck:
    """All pinned rows. A winner is recommended only if each of them is known to hold."""

    rows: tuple[PinnedRow, ...]

    @property
    def holds(self) -> bool:
        """Whether no row got worse, and every one is known."""
        return all(row.status == "held" for row in self.rows)

    def count(self, status: Status) -> int:
        """Rows with this status."""
        return sum(row.status == status for row in self.rows)


def check_pinned(rows: Sequence[Example], baseline: Sequence[Outcome], winner: Sequence[Outcome]) -> PinnedCheck:
    """Return the check of ``rows``; both lists of outcomes align with them."""
    return PinnedCheck(tuple(PinnedRow(*each) for each in zip(rows, baseline, winner, strict=True)))
