"""The seams of the optimizer: who scores, who says stop. A distributed executor plugs in at ``Evaluator``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from mipro_walk.types import Event, Outcome, Rollout


class Evaluator(Protocol):
    """Scores rollouts.

    ``evaluate`` returns one outcome for each rollout, in the same order (``len(outcomes) == len(rollouts)``),
    and only when all have ended: the optimizer decides at this barrier, never by who finished first. A call that
    failed for good is an outcome without a score. Too many failures raise
    :class:`~mipro_walk.errors.IncompleteError`, which pauses the run so that it can be resumed.
    """

    def evaluate(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """Score every rollout once."""
        ...


class Stops(Protocol):
    """Says whether to stop for a reason outside the optimizer: the clock, money, a person.

    The optimizer asks before it buys rollouts. An implementation that can be resumed records each answer.
    """

    def check(self) -> str | None:
        """Return ``None`` to go on, or the reason to stop (one of ``TIME``, ``COST``, ``CANCELLED``)."""
        ...


TIME = "time limit"
COST = "cost cap"
CANCELLED = "cancelled"
BUDGET = "budget"
TARGET = "target score"
EXHAUSTED = "search space exhausted"
ITERATIONS = "all iterations done"


class NeverStop:
    """No outside reason to stop."""

    def check(self) -> str | None:
        """Return ``None``."""
        return None


Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Drop the event."""
