"""How GEPA's budget is divided, decided before the first call and shown to the user."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mipro_walk.core.settings import GepaSettings
from mipro_walk.core.splits import check_rows
from mipro_walk.errors import ConfigError
from mipro_walk.types import Task

PARETO_SHARE = 6
"""Without a size of its own the Pareto set takes one rollout in so many: the starting instruction and a few accepted
ones can answer all of it."""


@dataclass(frozen=True, slots=True)
class GepaPlan:
    """Rollouts of a run of GEPA. How many steps the budget pays depends on how many instructions are accepted.

    Attributes:
        minibatch: train rows that a new instruction and its parent are compared on.
        pareto_rows: val rows that the starting instruction and every accepted one answer.
        baseline: rollouts of the starting instruction on val, before the search.
        evolution: rollouts left for the search.
        step: most rollouts that one step takes: parent and child on a minibatch, the child on val.
        steps: steps that the search has room for if every second instruction is accepted; a figure, not a limit.
        test_rows: test rows that the baseline and the winner answer each.
        pinned_rows: rows that must not get worse, which both answer, too.
    """

    budget: int
    minibatch: int
    pareto_rows: int
    baseline: int
    evolution: int
    step: int
    steps: int
    test_rows: int
    pinned_rows: int = 0

    @property
    def final_rows(self) -> int:
        """Rows that both answer at the end: the test's and the pinned ones."""
        return self.test_rows + self.pinned_rows

    @property
    def total(self) -> int:
        """Most rollouts of the whole run, the final test included."""
        return self.budget + 2 * self.final_rows

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        return {**asdict(self), "total": self.total}


def make_gepa_plan(settings: GepaSettings, task: Task) -> GepaPlan:
    """Divide ``settings.budget``.

    Raises:
        ConfigError: the budget cannot pay the starting instruction and one step, or a split is empty.
    """
    check_rows(task, settings, needs_train=True)
    minibatch = min(settings.minibatch_size, len(task.train))
    wanted = settings.pareto_set_size or max(1, settings.budget // PARETO_SHARE)
    pareto_rows = min(wanted, len(task.val))
    step = 2 * minibatch + pareto_rows
    if pareto_rows + step > settings.budget:
        raise ConfigError(
            f"budget = {settings.budget} rollouts cannot pay one step of GEPA: {pareto_rows} val rows for the starting "
            f"instruction, then 2 x {minibatch} train rows and {pareto_rows} val rows for a new one.",
            f"Set budget to {pareto_rows + step} or more, or lower pareto_set_size.",
        )
    evolution = settings.budget - pareto_rows
    return GepaPlan(
        budget=settings.budget,
        minibatch=minibatch,
        pareto_rows=pareto_rows,
        baseline=pareto_rows,
        evolution=evolution,
        step=step,
        steps=max(1, evolution * 2 // (4 * minibatch + pareto_rows)),
        test_rows=min(settings.test_size, len(task.test)),
        pinned_rows=len(task.pinned),
    )
