"""How a budget of rollouts is divided, decided before the first call and shown to the user."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.errors import ConfigError
from mipro_walk.types import Task

BOOTSTRAP_SHARE = 0.10
FINALIST_SHARE = 0.20
MIN_MINIBATCH = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """Rollouts by phase. ``bootstrap + baseline + search + finalists <= budget``.

    Attributes:
        bootstrap_rows: train rows the baseline answers in each bootstrap round.
        minibatch: val rows of one trial.
        finalist_rows: val rows that each finalist is brought to, rows already known included.
        test_rows: test rows that the baseline and the winner answer each.
    """

    budget: int
    bootstrap_rows: int
    bootstrap: int
    minibatch: int
    baseline: int
    search: int
    finalist_rows: int
    finalists: int
    test_rows: int

    @property
    def total(self) -> int:
        """Most rollouts of the whole run, the final test included."""
        return self.budget + 2 * self.test_rows

    def as_dict(self) -> dict[str, int]:
        """Return the plan as plain data."""
        return {**asdict(self), "total": self.total}


def make_plan(settings: OptimizerSettings, task: Task) -> Plan:
    """Divide ``settings.budget`` over bootstrap, baseline, search and finalists.

    Raises:
        ConfigError: the budget cannot pay ``num_iterations`` trials of three rows, or a split is empty.
    """
    _check_rows(settings, task)
    rounds = settings.num_bootstrap_seeds
    bootstrap_rows = min(len(task.train), int(settings.budget * BOOTSTRAP_SHARE) // rounds) if rounds else 0
    bootstrap = rounds * bootstrap_rows
    finalist_pool = int(settings.budget * FINALIST_SHARE)
    trials = settings.num_iterations + 1  # the baseline is scored on the same rows
    affordable = (settings.budget - bootstrap - finalist_pool) // trials
    minibatch = min(settings.minibatch_size or affordable, affordable, len(task.val))
    if minibatch < min(MIN_MINIBATCH, len(task.val)):
        needed = int(trials * MIN_MINIBATCH / (1 - BOOTSTRAP_SHARE - FINALIST_SHARE)) + 1
        raise ConfigError(
            f"budget = {settings.budget} rollouts cannot pay {settings.num_iterations} iterations "
            f"of at least {MIN_MINIBATCH} rows.",
            f"Set budget to {needed} or more, or num_iterations to {max(1, affordable * trials // 4)} or less.",
        )
    per_finalist = finalist_pool // settings.top_k
    return Plan(
        budget=settings.budget,
        bootstrap_rows=bootstrap_rows,
        bootstrap=bootstrap,
        minibatch=minibatch,
        baseline=minibatch,
        search=settings.num_iterations * minibatch,
        finalist_rows=min(len(task.val), minibatch + per_finalist),
        finalists=settings.top_k * per_finalist,
        test_rows=min(settings.test_size, len(task.test)),
    )


def _check_rows(settings: OptimizerSettings, task: Task) -> None:
    if not task.val:
        raise ConfigError("The val split has no rows to search on.", "Give online_pool at least one seed.")
    if not task.train and (settings.optimize_demos or settings.num_bootstrap_seeds):
        raise ConfigError("The train split has no rows.", "Give bootstrap_train_seeds at least one seed.")
    if settings.test_size and not task.test:
        raise ConfigError("The test split has no rows for the final test.", "Give test rows, or set test_size = 0.")
    if settings.optimize_demos and settings.num_demos > len(task.train):
        raise ConfigError(
            f"num_demos = {settings.num_demos} is larger than the train pool ({len(task.train)} rows).",
            f"Set num_demos to {len(task.train)} or less, or add rows to bootstrap_train_seeds.",
        )
    for name, rows in (("train", task.train), ("val", task.val)):
        if task.labels and len(task.labels) > 1 and len(rows) > 1 and len({row.label for row in rows}) == 1:
            raise ConfigError(
                f"Every row of the {name} pool has the label {rows[0].label!r}: nothing can be learned from it.",
                "Choose seeds that cover several labels; seeds follow the task app's stratified order.",
            )
