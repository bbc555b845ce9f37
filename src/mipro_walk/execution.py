"""Running one job: the optimizer over the ledger, in whatever world the rollouts happen.

The backend runs jobs against a task app over HTTP, ``mipro-walk optimize`` runs them in process. Both give a
:class:`World`; everything else is the same: recorded calls, recorded decisions, events, documents.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

from mipro_walk.config import RunConfig
from mipro_walk.core.algorithms import Writer, plan_for, run_algorithm
from mipro_walk.core.evaluation import Stops
from mipro_walk.core.plan import SearchPlan
from mipro_walk.core.result import RunResult
from mipro_walk.core.settings import AlgorithmName
from mipro_walk.core.splits import clean
from mipro_walk.errors import ConfigError
from mipro_walk.forecast import Forecast, forecast
from mipro_walk.ledger import Ledger, RecordedCompletions, RecordedEvaluator, RecordedStops, recorded_requests
from mipro_walk.ledger.replay import OnOutcome
from mipro_walk.ledger.store import Job, usage_as_dict
from mipro_walk.results.closing import closing_events
from mipro_walk.results.documents import build_documents, build_metadata
from mipro_walk.results.names import JOB_METADATA
from mipro_walk.types import Event, Outcome, Rollout, Task, Usage, fingerprint
from mipro_walk.version import VERSION

REPORTED_PACKAGES = ("openai", "httpx", "fastapi", "sqlalchemy")
ALGORITHM_PACKAGES: Mapping[AlgorithmName, tuple[str, ...]] = {"mipro": ("optuna",), "gepa": ("gepa",)}


class World(Protocol):
    """Where a job's rollouts happen."""

    def load_task(self) -> Task:
        """Return the task with its rows."""
        ...

    def source(self) -> str:
        """Return in words where the rows come from."""
        ...

    def models(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what identifies the policy and the meta-model: provider, model, parameters."""
        ...

    def run_rollout(self, rollout: Rollout) -> Outcome:
        """Make one rollout for real; called from several threads."""
        ...

    def complete(self, messages: list[dict[str, Any]], temperature: float) -> str:
        """Ask the meta-model."""
        ...

    def notices(self) -> list[str]:
        """Return what a person should know before the first call, such as a mapped model."""
        ...


@dataclass(frozen=True)
class JobContext:
    """What a running job is given by its surroundings.

    ``make_stops`` gets the forecast and the plan, since a cap on money keeps back what the final test may cost.
    ``see`` hears every event as it is emitted, ``on_outcome`` every rollout that ends.
    """

    ledger: Ledger
    job: Job
    config: RunConfig
    make_stops: Callable[[Forecast, SearchPlan], Stops]
    see: Callable[[Event], None]
    on_outcome: OnOutcome
    elapsed_seconds: Callable[[], float]
    progress: Callable[[], Mapping[str, Any]]


def execute(context: JobContext, world: World) -> dict[str, Any]:
    """Run the job to its end and return the result documents by file name.

    Raises:
        IncompleteError: paused or too many failures; run again to go on.
        ConfigError: the task does not fit the settings, or is not the one the job was started with.
    """
    config, ledger, job_id = context.config, context.ledger, context.job.job_id
    task = world.load_task()
    models = world.models()
    context_hash = context_of(task, models, config)
    _refuse_other_context(ledger, job_id, context_hash)
    _keep_rows(ledger, job_id, task)
    sink = EventSink(ledger, job_id, context.see)
    for notice in world.notices():
        sink(Event("mipro.notice", notice))
    # The gateway keeps to max_concurrent calls; more rollouts than that are open, so that a call waits at its door
    # while other rollouts are on their way there or are being recorded.
    rollouts = config.max_concurrent + config.max_concurrent // 2
    evaluator = RecordedEvaluator(ledger, job_id, context_hash, world.run_rollout, rollouts, context.on_outcome)
    plan = plan_for(config.settings, clean(task)[0])
    expected = forecast(config, task, plan)
    stops = RecordedStops(ledger, job_id, context.make_stops(expected, plan))
    complete = RecordedCompletions(ledger, job_id, fingerprint(models["meta"]), world.complete)
    try:
        writer = Writer(config.proposer, complete)
        result = run_algorithm(task, evaluator, writer, config.settings, stops=stops, emit=sink)
    finally:
        evaluator.close()
    documents = build_documents(task, result, models["policy"], recorded_requests(ledger, job_id))
    usage = ledger.usage(job_id)
    documents[JOB_METADATA] = _metadata(context, world, task, result, usage, expected)
    for event in closing_events(job_id, result, documents, usage):
        sink(event)
    return documents


def context_of(task: Task, models: Mapping[str, Mapping[str, Any]], config: RunConfig) -> str:
    """Return the hash of all that determines an outcome beside prompt and row: data, models, parameters."""
    decides = [task.dataset_hash, task.instruction, models["policy"], config.env_config]
    return fingerprint([*decides, models["judge"]] if "judge" in models else decides)


class EventSink:
    """Stores the events of a run. A replay emits them again in the same order: those are not stored twice."""

    def __init__(self, ledger: Ledger, job_id: str, see: Callable[[Event], None]) -> None:
        self._ledger = ledger
        self._job_id = job_id
        self._see = see
        self._ordinal = 0

    def __call__(self, event: Event) -> None:
        """Store one event and let the listener see it."""
        self._ordinal += 1
        self._ledger.add_event(self._job_id, event, self._ordinal)
        self._see(event)


def _refuse_other_context(ledger: Ledger, job_id: str, context_hash: str) -> None:
    recorded = ledger.recordings(job_id, "context")
    if not recorded:
        ledger.record(job_id, "context", "context", {"hash": context_hash})
    elif recorded["context"]["hash"] != context_hash:
        raise ConfigError(
            "The task app's rows or instruction, or the model, are not the ones this job was started with.",
            "Start the task app with the same data, or submit a new job.",
        )


def _keep_rows(ledger: Ledger, job_id: str, task: Task) -> None:
    """Record the rows of the three pools, so that exports need no task app."""
    if not ledger.recordings(job_id, "rows"):
        pools = {"train": task.train, "val": task.val, "test": task.test}
        values = {name: {"rows": [[r.seed, r.query, r.label] for r in rows]} for name, rows in pools.items()}
        ledger.record_all(job_id, "rows", values)


def _metadata(
    context: JobContext,
    world: World,
    task: Task,
    result: RunResult,
    usage: Mapping[str, Usage],
    expected: Forecast,
) -> dict[str, Any]:
    job, config = context.job, context.config
    return build_metadata(
        job_id=job.job_id,
        algorithm=result.algorithm,
        created_at=job.created_at,
        started_at=job.started_at,
        seconds=round(context.elapsed_seconds(), 1),
        stop_reason=result.stop_reason,
        config=config.as_dict(),
        config_hash=config.config_hash,
        rng_seed=config.settings.rng_seed,
        plan=result.plan.as_dict(),
        progress=dict(context.progress()),
        usage=usage_as_dict(usage),
        forecast=expected.as_dict(),
        usage_by_phase=_by_forecast_names(expected, context.ledger.usage_by_phase(job.job_id)),
        models={role: dict(model) for role, model in world.models().items()},
        data={
            "source": world.source(),
            "dataset_hash": task.dataset_hash,
            "split_hash": result.data.split_hash,
            "rows": result.data.rows,
            "dropped": len(result.data.overlaps),
        },
        baseline_key=list(result.baseline_key),
        winner_key=list(result.winner_key),
        versions={
            "mipro-walk": VERSION,
            "python": platform.python_version(),
            **{name: version(name) for name in (*REPORTED_PACKAGES, *ALGORITHM_PACKAGES[result.algorithm])},
        },
        warnings=_warnings(result, config),
    )


def _by_forecast_names(expected: Forecast, usage: Mapping[str, Usage]) -> dict[str, Any]:
    """Return usage by the forecast's shorter names; a phase that was left out has none."""
    return usage_as_dict({p.name: used for p, used in zip(expected.phases, usage.values(), strict=False)})


def _warnings(result: RunResult, config: RunConfig) -> list[str]:
    warnings = [f"{name} is accepted but has no effect here" for name in config.ignored] + list(result.data.warnings)
    if unknown := result.unknown_on_val:
        warnings.append(f"{unknown} rollouts on val failed and are left out of every score")
    if result.test is not None and result.test.comparison.excluded:
        warnings.append(f"{result.test.comparison.excluded} test rows are left out because a call failed")
    return warnings
