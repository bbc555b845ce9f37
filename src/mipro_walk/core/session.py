"""What every search has: a task, a purse of rollouts, reasons to stop from outside, and the final test at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mipro_walk.core import events
from mipro_walk.core.evaluation import Emit, Evaluator, Stops
from mipro_walk.core.leaks import LeakGuard
from mipro_walk.core.pinned import PinnedCheck, check_pinned
from mipro_walk.core.plan import SearchPlan
from mipro_walk.core.result import TestResult
from mipro_walk.core.settings import SearchSettings
from mipro_walk.core.statistics import compare_paired
from mipro_walk.types import Candidate, Event, Outcome, Rollout, Split, Task

CHUNK = 64
"""Rollouts handed out at once: enough to keep many connections busy, few enough to stop soon."""
MAX_REASKS = 2
"""How often refused instructions are asked for again."""
Progress = Callable[[int, int], Event]
"""Says how many rollouts are done, of how many."""


@dataclass
class Session:
    """One search on its way, whatever its algorithm."""

    task: Task
    evaluator: Evaluator
    settings: SearchSettings
    plan: SearchPlan
    stops: Stops
    emit: Emit
    spent: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    leaks: LeakGuard = field(init=False)
    _outside_reason: str | None = None

    def __post_init__(self) -> None:
        self.leaks = LeakGuard(self.task)

    def buy(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """Evaluate and count against the budget: recorded or not, so that a replay decides alike."""
        self.spent += len(rollouts)
        return self.evaluator.evaluate(rollouts) if rollouts else []

    def ask_outside(self) -> str | None:
        """Return the outside reason to stop, if any. Once there is one it stays."""
        if self._outside_reason is None:
            self._outside_reason = self.stops.check()
        return self._outside_reason

    def final_test(self, baseline: Candidate, winner: Candidate) -> TestResult | None:
        """Score baseline and winner on the same test rows. Paid beside the budget, once."""
        seeds = [row.seed for row in self.task.test[: self.plan.test_rows]]
        if not seeds:
            return None
        self.emit(events.phase(3, "Final test on unseen rows"))
        first, second = self.ask_rows([baseline, winner], seeds)
        comparison = compare_paired([o.score for o in first], [o.score for o in second])
        return TestResult(tuple(seeds), tuple(first), tuple(second), comparison)

    def check_pinned(self, winner: Candidate) -> PinnedCheck | None:
        """Score the starting prompt and the winner on the pinned rows. Paid beside the budget, like the test."""
        rows, baseline = self.task.pinned, self.task.baseline
        if not rows or winner == baseline:
            return None
        answers = self.ask_rows([baseline, winner], [row.seed for row in rows], events.pinned_progress, "pinned")
        found = check_pinned(rows, *answers)
        self.emit(events.pinned_checked(found))
        return found

    def ask_rows(
        self,
        candidates: Sequence[Candidate],
        seeds: Sequence[int],
        progress: Progress = events.test_progress,
        split: Split = "test",
    ) -> list[list[Outcome]]:
        """Return the outcomes of each candidate, in the order of ``seeds``. The same candidate is asked once."""
        distinct = list(dict.fromkeys(candidates))
        rollouts = [Rollout(candidate, split, seed) for candidate in distinct for seed in seeds]
        outcomes: list[Outcome] = []
        for start in range(0, len(rollouts), CHUNK):
            outcomes += self.evaluator.evaluate(rollouts[start : start + CHUNK])
            self.emit(progress(len(outcomes), len(rollouts)))
        answered = {c: outcomes[i * len(seeds) : (i + 1) * len(seeds)] for i, c in enumerate(distinct)}
        return [answered[candidate] for candidate in candidates]
