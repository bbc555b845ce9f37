"""Reasons to stop that only the outside world knows: the clock, money, a person."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from mipro_walk.core import evaluation
from mipro_walk.errors import IncompleteError


class PauseRequestedError(IncompleteError):
    """A person asked to pause, or the backend is shutting down. Not recorded: resuming goes on."""

    code = "paused"


@dataclass
class Wishes:
    """What a person wants of the running job; set from other threads."""

    cancel: threading.Event = field(default_factory=threading.Event)
    pause: threading.Event = field(default_factory=threading.Event)

    def raise_if_paused(self) -> None:
        """Raise PauseRequestedError if a pause is wished for."""
        if self.pause.is_set():
            raise PauseRequestedError("as asked", "Resume to go on; recorded rollouts are not paid again.")


@dataclass(frozen=True)
class LiveStops:
    """Answers ``check`` from the clock, the money spent and the wishes.

    ``reserve`` is the share of the cap kept for the final test: ``test_rollouts`` at the mean price so far.
    """

    wishes: Wishes
    elapsed_seconds: Callable[[], float]
    spent_usd: Callable[[], tuple[float | None, int]]
    max_time_seconds: float
    max_cost_usd: float | None
    test_rollouts: int

    def check(self) -> str | None:
        """Return the reason to stop, in the order person, clock, money."""
        self.wishes.raise_if_paused()
        if self.wishes.cancel.is_set():
            return evaluation.CANCELLED
        if self.elapsed_seconds() >= self.max_time_seconds:
            return evaluation.TIME
        if self.max_cost_usd is not None and self._cost_with_test() >= self.max_cost_usd:
            return evaluation.COST
        return None

    def _cost_with_test(self) -> float:
        spent, calls = self.spent_usd()
        if spent is None:
            raise IncompleteError(
                "max_cost_usd is set but the price of a model is unknown, so the cap cannot be kept.",
                "Remove max_cost_usd, or use a model with a known price.",
            )
        return spent + (spent / calls * self.test_rollouts if calls else 0.0)
