"""How a budget of rollouts is divided, decided before the first call and shown to the user."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from mipro_walk.core.rungs import Rung, make_rungs
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.core.splits import check_pools
from mipro_walk.errors import ConfigError
from mipro_walk.types import Task

BOOTSTRAP_SHARE = 0.10
PROGRAM_BOOTSTRAP_SHARE = 0.25
"""Share of the budget of a program of several stages, whose demonstrations all come from rows that it was seen to
answer: train rows have no answers for what happens between."""


class SearchPlan(Protocol):
    """What the plans of all algorithms say."""

    @property
    def budget(self) -> int:
        """Most rollouts of the search, its preparation included."""
        ...

    @property
    def test_rows(self) -> int:
        """Test rows that the baseline and the winner answer each."""
        ...

    @property
    def final_rows(self) -> int:
        """Rows that both answer at the end: the test's and the pinned ones."""
        ...

    @property
    def total(self) -> int:
        """Most rollouts of the whole run."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """Rollouts by phase. ``bootstrap + baseline + search + finalists <= budget``.

    Attributes:
        bootstrap_rows: train rows the baseline answers in each bootstrap round.
        minibatch: val rows of the baseline and of each trial of the first rung.
        search: rollouts of all rungs but the last.
        finalists: rollouts of the last rung.
        rungs: the rounds of the race.
        test_rows: test rows that the baseline and the winner answer each.
        pinned_rows: rows that must not get worse, which both answer, too.
        ablation_rows: of the test rows, the first ones that two further prompts answer each, to take it apart.
    """

    budget: int
    bootstrap_rows: int
    bootstrap: int
    minibatch: int
    baseline: int
    search: int
    finalists: int
    rungs: tuple[Rung, ...]
    test_rows: int
    ablation_rows: int
    pinned_rows: int = 0

    @property
    def confirmation_rows(self) -> int:
        """Rows on which a score that reaches the target is confirmed: a finalist's share of the last rung."""
        return self.finalists // self.rungs[-1].members

    @property
    def total(self) -> int:
        """Most rollouts of the whole run, the final test and the ablation included."""
        return self.budget + 2 * self.final_rows + 2 * self.ablation_rows

    @property
    def final_rows(self) -> int:
        """Rows that the baseline and the winner answer each at the end."""
        return self.test_rows + self.pinned_rows

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        return {**asdict(self), "rungs": [asdict(rung) for rung in self.rungs], "total": self.total}


def make_plan(settings: OptimizerSettings, task: Task) -> Plan:
    """Divide ``settings.budget`` over bootstrap, baseline and the rungs of the search.

    Raises:
        ConfigError: the budget cannot give every trial of the first rung a row, or a split is empty.
    """
    check_pools(task, settings)
    rounds = settings.num_bootstrap_seeds
    share = PROGRAM_BOOTSTRAP_SHARE if task.stages else BOOTSTRAP_SHARE
    bootstrap_rows = min(len(task.train), int(settings.budget * share) // rounds) if rounds else 0
    bootstrap = rounds * bootstrap_rows
    trials, last = settings.num_iterations, settings.top_k
    first = make_rungs(trials, last, 0)[0].members
    shares = len(make_rungs(trials, last, 0))
    affordable = (settings.budget - bootstrap) // (shares * first + 1)  # the baseline is scored on the same rows
    if affordable < 1:
        raise ConfigError(
            f"budget = {settings.budget} rollouts cannot pay {trials} iterations: not a row for each.",
            f"Set budget to {int((shares * first + 1) / (1 - share)) + 1} or more, or lower num_iterations.",
        )
    minibatch = min(settings.minibatch_size or affordable, affordable, len(task.val))
    rollouts = settings.budget - bootstrap - minibatch
    rungs = make_rungs(trials, last, rollouts, minibatch if settings.minibatch_size else 0)
    search = rungs[-2].spent_after if len(rungs) > 1 else rollouts
    return Plan(
        budget=settings.budget,
        bootstrap_rows=bootstrap_rows,
        bootstrap=bootstrap,
        minibatch=minibatch,
        baseline=minibatch,
        search=search,
        finalists=rollouts - search,
        rungs=rungs,
        test_rows=min(settings.test_size, len(task.test)),
        ablation_rows=min(settings.ablation_size, settings.test_size, len(task.test)),
        pinned_rows=len(task.pinned),
    )
