"""Reasons to stop that only the outside world knows: the clock, money, a person."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from mipro_walk.core import evaluation
from mipro_walk.core.plan import SearchPlan
from mipro_walk.core.session import CHUNK
from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError, IncompleteError
from mipro_walk.forecast import Forecast


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
class Spent:
    """Money so far. ``usd`` is ``None`` if a price is unknown; ``dearest_call_usd`` is that of the policy model."""

    usd: float | None
    dearest_call_usd: float


@dataclass(frozen=True)
class MoneyCap:
    """A hard cap: nothing is bought unless the final test can still be paid afterwards.

    Attributes:
        test_rollouts: calls kept back for the final test.
        next_rollouts: most calls that are bought before the question comes again.
        call_usd: most that one of them was forecast to cost; a dearer one that was seen counts instead.
        round_usd: most that one round of proposals was forecast to cost.
    """

    cap_usd: float
    test_rollouts: int
    next_rollouts: int
    call_usd: float
    round_usd: float

    def is_reached(self, spent: Spent) -> bool:
        """Whether what comes next could make the final test too dear."""
        if spent.usd is None:
            raise IncompleteError(
                "max_cost_usd is set but the price of a model is unknown, so the cap cannot be kept.",
                "Remove max_cost_usd, or use a model with a known price.",
            )
        each = max(self.call_usd, spent.dearest_call_usd)
        return spent.usd + (self.test_rollouts + self.next_rollouts) * each + self.round_usd > self.cap_usd


def money_cap(max_cost_usd: float | None, forecast: Forecast, plan: SearchPlan) -> MoneyCap | None:
    """Return the cap of a job, ``None`` without one.

    Raises:
        ConfigError: a price is unknown, or the cap cannot pay the final test and the first calls.
    """
    if max_cost_usd is None:
        return None
    if forecast.call_usd is None or forecast.round_usd is None:
        raise ConfigError(
            "max_cost_usd is set but the price of a model is unknown, so the cap cannot be kept.",
            "Remove max_cost_usd, or use a model with a known price.",
        )
    chunk = min(CHUNK, plan.budget)
    cap = MoneyCap(max_cost_usd, 2 * plan.final_rows, chunk, forecast.call_usd, forecast.round_usd)
    if cap.is_reached(Spent(0.0, 0.0)):
        needed = (cap.test_rollouts + cap.next_rollouts) * cap.call_usd + cap.round_usd
        raise ConfigError(
            f"max_cost_usd = {max_cost_usd:g} may not pay the final test ({counted(cap.test_rollouts, 'call')}) and "
            f"the first {counted(chunk, 'call')} of the search: they can take ${needed:.4f}.",
            "Raise max_cost_usd, or lower test_size.",
        )
    return cap


@dataclass(frozen=True)
class LiveStops:
    """Answers ``check`` from the clock, the money spent and the wishes."""

    wishes: Wishes
    elapsed_seconds: Callable[[], float]
    spent: Callable[[], Spent]
    max_time_seconds: float
    money: MoneyCap | None

    def check(self) -> str | None:
        """Return the reason to stop, in the order person, clock, money."""
        self.wishes.raise_if_paused()
        if self.wishes.cancel.is_set():
            return evaluation.CANCELLED
        if self.elapsed_seconds() >= self.max_time_seconds:
            return evaluation.TIME
        if self.money is not None and self.money.is_reached(self.spent()):
            return evaluation.COST
        return None
