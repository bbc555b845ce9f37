"""``mipro-walk compare CONFIG``: several methods with several rng seeds on the same rows, in this process.

All runs record their rollouts and completions under one job of the ledger, so a prompt that meets a row again, in
whatever run, gets the recorded answer. That job belongs to the rows, the models and the settings, not to the methods
and rng seeds: the same command goes on where it stopped, and another one adds methods or seeds to what is there.

Runs have no time limit and stop at no dollar, so that neither the load of the machine nor the order of the runs changes
a result. A cap on money holds for the comparison as a whole and pauses it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from filelock import FileLock, Timeout

from mipro_walk.backend.comparison_meters import Cap, CapReachedError, Labels, Metered
from mipro_walk.backend.comparison_order import Order, Watch, mipro_settings
from mipro_walk.backend.in_process import Banking77World, data_hash, read_task
from mipro_walk.backend.jobs import IN_PROCESS
from mipro_walk.backend.preparation import JobPreparation, Prepared
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.backend.stops import PauseRequestedError, Wishes
from mipro_walk.clients.gateway_thread import GatewayThread
from mipro_walk.comparison.methods import Contest, Counted, Found, Method
from mipro_walk.comparison.runs import (
    ROLES,
    MissingRun,
    Run,
    read_run,
    run_name,
    short_trace,
    val_scores,
)
from mipro_walk.config import RunConfig
from mipro_walk.core.algorithms import Writer, plan_for
from mipro_walk.core.proposer import Complete
from mipro_walk.core.settings import GepaSettings
from mipro_walk.core.splits import clean
from mipro_walk.errors import ConfigError, IncompleteError, MiproWalkError
from mipro_walk.execution import World
from mipro_walk.forecast import Forecast, forecast
from mipro_walk.ledger import Ledger, RecordedCompletions, RecordedEvaluator
from mipro_walk.ledger.store import COMPARISON, Job
from mipro_walk.types import Message, Task, Usage, fingerprint
from task_apps.banking77.data import TaskData

MAX_FAILURES_IN_A_ROW = 2
"""So many runs that cannot get answers, one after another, are an outage and not a method."""
COST_DIGITS = 9


@dataclass(frozen=True)
class Compared:
    """Every run that was asked for, there or missing, and what they share. ``task`` is the one all of them had."""

    job_id: str
    task: Task
    config: RunConfig
    source: str
    models: dict[str, dict[str, Any]]
    runs: tuple[Run, ...]
    missing: tuple[MissingRun, ...]


def forecasts(order: Order, data: TaskData) -> list[tuple[Method, int, Forecast]]:
    """Return each method with its number of runs and what one of them takes if nothing is recorded. Makes no call.

    Raises:
        ConfigError: the configuration does not fit the rows.
    """
    task = clean(read_task(order.config, data)[1])[0]
    found = []
    for method in order.methods:
        config = order.config_of(method, 0)
        expected = forecast(config, task, plan_for(config.settings, task))
        if method.is_drawn:
            found.append((method, len(order.rng_seeds), expected))
        else:
            found.append((method, 1, _test_only(expected)))
    return found


def _test_only(expected: Forecast) -> Forecast:
    """Return the forecast of a method that asks nothing but the test rows, with one prompt."""
    (test,) = (phase for phase in expected.phases if phase.name == "Final test")
    half = replace(
        test,
        calls=test.calls // 2,
        prompt_tokens=test.prompt_tokens // 2,
        completion_tokens=test.completion_tokens // 2,
        cost_usd=None if test.cost_usd is None else (test.cost_usd[0] / 2, test.cost_usd[1] / 2, test.cost_usd[2] / 2),
        seconds=(test.seconds[0] / 2, test.seconds[1] / 2),
    )
    return replace(expected, phases=(half,))


def run_comparison(
    settings: BackendSettings, order: Order, data: TaskData, watch: Watch, wishes: Wishes | None = None
) -> Compared:
    """Make the runs that the ledger does not hold yet, and return all of them.

    A run that fails is left out and said; after two failures in a row, or at the cap, the others are not tried.

    Raises:
        PauseRequestedError: ``wishes`` asked for it.
        MiproWalkError: a model cannot be had, or no run at all could be made.
    """
    with ExitStack() as stack:
        stack.enter_context(_only_one(settings))
        ledger = Ledger(settings.database)
        stack.callback(ledger.close)
        bench = stack.enter_context(_open_bench(settings, ledger, order, data, watch, wishes or Wishes()))
        runs, missing = bench.run_all()
        world = bench.world
        return Compared(
            bench.job.job_id,
            bench.task,
            order.common(),
            world.source(),
            {role: dict(model) for role, model in world.models().items()},
            tuple(runs),
            tuple(missing),
        )


@contextmanager
def _only_one(settings: BackendSettings) -> Iterator[None]:
    lock = FileLock(settings.home / "compare.lock", mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout as exc:
        raise ConfigError("Another comparison is running.", "Wait for its end, or stop it.") from exc
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _open_bench(
    settings: BackendSettings, ledger: Ledger, order: Order, data: TaskData, watch: Watch, wishes: Wishes
) -> Iterator[_Bench]:
    task = clean(read_task(order.config, data)[1])[0]
    if not task.test or not order.config.settings.test_size:
        raise ConfigError("Without test rows nothing can be compared.", "Set test_size to 1 or more.")
    job = _job(ledger, settings, order, data)
    labels = Labels()

    def make_world(prepared: Prepared) -> World:
        return Banking77World(**prepared.shared(), data=data)

    preparation = JobPreparation(settings, ledger, make_world)
    with ExitStack() as stack:
        stack.callback(preparation.close)
        preparation.start(stack.enter_context(GatewayThread()).loop)
        world = make_world(preparation.prepare(job, order.common(), wishes, stack, labels.label))
        world.load_task()
        for notice in world.notices():
            watch.notice(notice)
        yield _Bench(ledger, job, order, task, world, labels, watch)


def _job(ledger: Ledger, settings: BackendSettings, order: Order, data: TaskData) -> Job:
    """Return the job that all runs of a comparison record their calls under."""
    config = order.common()
    name = fingerprint([COMPARISON, config.config_hash, data_hash(data), str(settings.model_path or "")])
    return ledger.create_job(
        config.as_dict(),
        algorithm=COMPARISON,
        launch={IN_PROCESS: True, "rows": data_hash(data)},
        request_hash=config.config_hash,
        idempotency_key=name,
    )


@dataclass
class _Bench:
    """The real stack for all runs of a comparison."""

    ledger: Ledger
    job: Job
    order: Order
    task: Task
    world: World
    labels: Labels
    watch: Watch

    def run_all(self) -> tuple[list[Run], list[MissingRun]]:
        """Return the runs that are there at the end, and those that are not."""
        recorded = self._recorded()
        runs: list[Run] = []
        missing: list[MissingRun] = []
        asked = self.order.runs()
        in_a_row = 0
        last: MiproWalkError | None = None
        for number, (method, rng_seed) in enumerate(asked, start=1):
            found = recorded.get(run_name(method.name, rng_seed))
            if found is None and last is not None and (in_a_row >= MAX_FAILURES_IN_A_ROW or _is_final(last)):
                missing.append(MissingRun(method.name, rng_seed, f"not tried: {last.message}", failed=False))
                continue
            try:
                run = found or self._run(method, rng_seed, number, len(asked))
            except PauseRequestedError:
                raise
            except MiproWalkError as exc:
                last, in_a_row = exc, in_a_row + isinstance(exc, IncompleteError)
                missing.append(MissingRun(method.name, rng_seed, exc.message, failed=True))
                self.watch.failed(missing[-1])
            else:
                in_a_row = 0
                runs.append(run)
                self.watch.ended(run, found is not None)
        if not runs and last is not None:
            raise last
        return runs, missing

    def _run(self, method: Method, rng_seed: int, number: int, total: int) -> Run:
        """Make one run and record it."""
        config = self.order.config_of(method, rng_seed)
        name = run_name(method.name, rng_seed)
        plan = plan_for(config.settings, self.task)
        self.watch.started(name, number, total, plan.total if method.is_drawn else plan.test_rows)
        self.labels.start(name)
        expected = forecast(config, self.task, plan)
        limit = self.order.config.settings.max_cost_usd
        cap = None if limit is None else Cap(limit, self.ledger, self.job.job_id, expected)
        recorded = RecordedEvaluator(
            self.ledger,
            self.job.job_id,
            self._context_hash,
            self.world.run_rollout,
            config.max_concurrent + config.max_concurrent // 2,
            self.watch.outcome,
        )
        counted = Counted(Metered(recorded, self.labels, cap))
        started = time.monotonic()
        try:
            found = method.find(self._contest(config, counted, Writer(config.proposer, self._completions(cap))))
        finally:
            recorded.close()
        run = self._as_run(name, config, found, counted, round(time.monotonic() - started, 1))
        self.ledger.record(self.job.job_id, "run", self._identity(name), run.as_dict())
        return run

    def _contest(self, config: RunConfig, counted: Counted, writer: Writer) -> Contest:
        settings = config.settings
        gepa = settings if isinstance(settings, GepaSettings) else None
        common = replace(mipro_settings(config), rng_seed=settings.rng_seed)
        return Contest(self.task, counted, writer.proposer(), common, self.watch.event, writer, gepa)

    def _completions(self, cap: Cap | None) -> Complete:
        """Return what asks the meta-model once for each new question of a run."""

        def ask(messages: list[Message], temperature: float) -> str:
            if cap is not None:
                cap.check(0, proposal=True)
            return self.world.complete(messages, temperature)

        meta = fingerprint(self.world.models()["meta"])
        recorded = RecordedCompletions(self.ledger, self.job.job_id, meta, ask)

        def complete(messages: list[Message], temperature: float) -> str:
            self.labels.ask(messages, temperature)
            return recorded(messages, temperature)

        return complete

    def _as_run(self, name: str, config: RunConfig, found: Found, counted: Counted, seconds: float) -> Run:
        by_tag = self.ledger.usage_by_tag(self.job.job_id)
        searched, made = (dict.fromkeys(ROLES, Usage()) for _ in range(2))
        for tag, usage in by_tag.items():
            run, role, what = tag.split("|")
            if run == name:
                made[role] += usage
            if (role, what) in self.labels.asked:
                searched[role] += usage
        method, _, rng_seed = name.partition(":")
        return Run(
            method=method,
            rng_seed=int(rng_seed),
            rows_hash=self._context_hash,
            budget=config.settings.budget,
            winner=found.winner,
            scores=tuple(found.scores),
            baseline_scores=tuple(found.baseline_scores),
            rollouts=found.rollouts,
            proposals=self.labels.proposals,
            search=_rounded(searched),
            made=_rounded(made),
            seconds=seconds,
            trace=short_trace(found),
            val=val_scores(counted),
        )

    def _recorded(self) -> dict[str, Run]:
        """Return the runs of earlier sessions on the same rows, question and model."""
        plain = self.ledger.recordings(self.job.job_id, "run").values()
        return {run.name: run for run in map(read_run, plain) if run.rows_hash == self._context_hash}

    def _identity(self, name: str) -> str:
        return fingerprint([name, self._context_hash])

    @property
    def _context_hash(self) -> str:
        """Everything that determines an outcome beside prompt and row."""
        policy = self.world.models()["policy"]
        return fingerprint([self.task.dataset_hash, self.task.instruction, policy, self.order.config.env_config])


def _rounded(usage: Mapping[str, Usage]) -> dict[str, Usage]:
    """Return usage without the last bits of its cost, which depend on the order in which calls happened to end."""
    return {
        role: part if part.cost_usd is None else replace(part, cost_usd=round(part.cost_usd, COST_DIGITS))
        for role, part in usage.items()
    }


def _is_final(error: MiproWalkError) -> bool:
    """Whether the next run would end the same way."""
    return isinstance(error, CapReachedError)
