"""What a comparison may spend, and which run each call belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mipro_walk.errors import ConfigError, IncompleteError
from mipro_walk.forecast import Forecast
from mipro_walk.ledger import Ledger, RecordedEvaluator
from mipro_walk.ledger.store import total_cost
from mipro_walk.types import Message, Outcome, Rollout, fingerprint


class CapReachedError(IncompleteError):
    """The next calls could cost more than the cap of the comparison."""


@dataclass(frozen=True)
class Cap:
    """A hard cap on the money of the whole comparison, sessions before this one included."""

    cap_usd: float
    ledger: Ledger
    job_id: str
    forecast: Forecast

    def check(self, rollouts: int, *, proposal: bool = False) -> None:
        """Raise CapReachedError unless so many more calls can be paid."""
        spent = total_cost(self.ledger.usage(self.job_id))
        if spent is None or self.forecast.call_usd is None or self.forecast.round_usd is None:
            raise ConfigError(
                "max_cost_usd is set but the price of a model is unknown, so the cap cannot be kept.",
                "Remove max_cost_usd, or use a model with a known price.",
            )
        each = max(self.forecast.call_usd, self.ledger.dearest_call(self.job_id, "policy"))
        further = rollouts * each + (self.forecast.round_usd if proposal else 0.0)
        if spent + further > self.cap_usd:
            raise CapReachedError(
                f"max_cost_usd = {self.cap_usd:g} is reached: ${spent:.4f} are spent, and the next calls can take "
                f"${further:.4f}.",
                "Give a higher cap and run the same command again: nothing is paid twice.",
            )


@dataclass
class Labels:
    """Names each call by the run that makes it and by what it asks, so that each run's share can be told later.

    Attributes:
        asked: ``(role, what)`` of the search of the current run, whoever paid for the answers.
    """

    run: str = ""
    proposal: str = ""
    asked: set[tuple[str, str]] = field(default_factory=set)
    proposals: int = 0

    def start(self, run: str) -> None:
        """Begin another run."""
        self.run, self.proposal, self.asked, self.proposals = run, "", set(), 0

    def ask(self, messages: Sequence[Message], temperature: float) -> None:
        """Take note of the next proposal; there is only one at a time."""
        self.proposal = fingerprint([self.proposals, messages, temperature])
        self.proposals += 1
        self.asked.add(("meta", self.proposal))

    def label(self, role: str, tag: str) -> str:
        """Return the tag under which the ledger keeps a call."""
        return f"{self.run}|{role}|{tag if role == 'policy' else self.proposal}"


@dataclass
class Metered:
    """The evaluator of one run: keeps to the cap and notes what its search asks."""

    inner: RecordedEvaluator
    labels: Labels
    cap: Cap | None

    def evaluate(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """Score every rollout once. Raises CapReachedError before anything is bought that the cap may not pay."""
        if self.cap is not None and (new := self.inner.unrecorded(rollouts)):
            self.cap.check(new)
        self.labels.asked |= {("policy", r.tag) for r in rollouts if r.split != "test"}
        return self.inner.evaluate(rollouts)
