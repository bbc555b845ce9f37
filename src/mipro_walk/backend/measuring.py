"""Measuring saved prompts on the rows of a split, in this process: what was recorded before is not asked again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mipro_walk.backend.jobs import IN_PROCESS
from mipro_walk.backend.preparation import JobPreparation, MakeWorld
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.backend.stops import Wishes
from mipro_walk.clients.gateway_thread import GatewayThread
from mipro_walk.clients.pricing import TokenUsage
from mipro_walk.config import RunConfig
from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError, IncompleteError, MiproWalkError
from mipro_walk.execution import World, context_of
from mipro_walk.forecast import price_of
from mipro_walk.ledger import Ledger, RecordedEvaluator
from mipro_walk.ledger.replay import rollout_identity
from mipro_walk.ledger.store import MEASUREMENT, total_cost, utc_now
from mipro_walk.types import Candidate, Example, Outcome, Rollout, Split, Task, Usage

CHUNK = 20
"""Rows after which a cap on money is looked at again."""


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        rows: in their order; every list of outcomes has one for each.
        candidates, outcomes: by the caller's name of the prompt.
        made, recorded: rollouts that were made now, and that answered from earlier runs.
        usage: what the calls of this measurement consumed, further tries included.
    """

    task: str
    source: str
    model: Mapping[str, object]
    rows: Sequence[Example]
    candidates: Mapping[str, Candidate]
    outcomes: Mapping[str, list[Outcome]]
    made: int
    recorded: int
    usage: Usage


def measure(
    settings: BackendSettings,
    config: RunConfig,
    make_world: MakeWorld,
    prompts: Mapping[str, Candidate | None],
    split: Split,
    *,
    fresh: bool = False,
    max_cost_usd: float | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Measured:
    """Score every prompt on the rows of ``split``.

    Args:
        settings: where the ledger lies, and the keys' environment.
        config: the model, its parameters and the pools.
        make_world: whose rows, question and scoring.
        prompts: by a name for it; ``None`` is the task's own instruction without demonstrations.
        split: whose rows.
        fresh: ask again what was recorded before.
        max_cost_usd: stop before the next rows once the calls have cost so much.
        say: hears what goes on.

    Raises:
        ConfigError: the split has no rows, or the price that a cap needs is unknown.
        IncompleteError: the model cannot be asked, or the cap is reached; what was measured is recorded.
    """
    if max_cost_usd is not None and price_of(config.model("policy"), TokenUsage(1, 1)) is None:
        raise ConfigError(
            f"The price of {config.policy.model} is unknown, so --max-cost-usd cannot be kept.",
            "Give input_price_per_million and output_price_per_million, or leave the cap out.",
        )
    ledger = Ledger(settings.database)
    preparation = JobPreparation(settings, ledger, make_world)
    wishes = Wishes()
    job = ledger.create_job(
        config.as_dict(), algorithm=MEASUREMENT, launch={IN_PROCESS: True}, request_hash=config.config_hash
    )
    ledger.update_job(job.job_id, status="running", started_at=utc_now())
    status = "failed"
    try:
        with GatewayThread() as thread:
            preparation.start(thread.loop)
            with preparation.world(job, wishes) as (parsed, world):
                work = _Measurement(ledger, job.job_id, parsed, world, split, fresh, max_cost_usd, say)
                measured = work.run(prompts)
        status = "succeeded"
        return measured
    except KeyboardInterrupt:
        wishes.pause.set()
        raise
    finally:
        ledger.update_job(job.job_id, status=status, finished_at=utc_now())
        preparation.close()
        ledger.close()


@dataclass
class _Measurement:
    ledger: Ledger
    job_id: str
    config: RunConfig
    world: World
    split: Split
    fresh: bool
    max_cost_usd: float | None
    say: Callable[[str], None]
    made: int = 0
    recorded: int = 0

    def run(self, prompts: Mapping[str, Candidate | None]) -> Measured:
        task = self.world.load_task()
        rows = task.rows(self.split)
        if not rows:
            raise ConfigError(
                f"The split {self.split} has no rows here.", "Set test_size or the pools, or name another --split."
            )
        for notice in self.world.notices():
            self.say(notice)
        candidates = {name: found or task.baseline for name, found in prompts.items()}
        outcomes = self._outcomes(task, rows, candidates)
        usage = self.ledger.usage(self.job_id)
        return Measured(
            task=task.name,
            source=self.world.source(),
            model=self.world.models()["policy"],
            rows=rows,
            candidates=candidates,
            outcomes=outcomes,
            made=self.made,
            recorded=self.recorded,
            usage=sum(usage.values(), Usage()),
        )

    def _outcomes(
        self, task: Task, rows: Sequence[Example], candidates: Mapping[str, Candidate]
    ) -> dict[str, list[Outcome]]:
        context = context_of(task, self.world.models(), self.config)
        wanted = {name: [Rollout(c, self.split, row.seed) for row in rows] for name, c in candidates.items()}
        identities = [rollout_identity(context, rollout) for listed in wanted.values() for rollout in listed]
        known = {} if self.fresh else self.ledger.recorded_scores(list(dict.fromkeys(identities)))
        missing = len(set(identities) - known.keys())
        self.say(
            f"{counted(len(rows), f'{self.split} row')}, {counted(len(candidates), 'prompt')}: "
            f"{missing} of {len(identities)} to ask"
        )
        evaluator = RecordedEvaluator(
            self.ledger,
            self.job_id,
            context,
            self.world.run_rollout,
            self.config.max_concurrent,
            self._count,
            known,
        )
        outcomes: dict[str, list[Outcome]] = {name: [] for name in candidates}
        try:
            for start in range(0, len(rows), CHUNK):
                self._keep_to_the_cap(missing=bool(missing))
                for name, listed in wanted.items():
                    outcomes[name] += evaluator.evaluate(listed[start : start + CHUNK])
        finally:
            evaluator.close()
        return outcomes

    def _count(self, _outcome: Outcome, made: bool) -> None:
        self.made += made
        self.recorded += not made

    def _keep_to_the_cap(self, *, missing: bool) -> None:
        if self.max_cost_usd is None or not missing:
            return
        spent = total_cost(self.ledger.usage(self.job_id))
        if spent is None or spent >= self.max_cost_usd:
            shown = "an unknown amount" if spent is None else f"${spent:.4f}"
            raise IncompleteError(
                f"The calls have cost {shown}; --max-cost-usd is {self.max_cost_usd:g}.",
                "The same command with a higher cap goes on: recorded calls are not paid again.",
            )


def require_few_unknown(measured: Measured, limit: float) -> None:
    """Raise IncompleteError if more than ``limit`` (0..1) of a prompt's rows could not be measured."""
    for name, outcomes in measured.outcomes.items():
        unknown = [outcome for outcome in outcomes if not outcome.is_known]
        if len(unknown) > limit * len(outcomes):
            raise _too_many_unknown(name, unknown, len(outcomes))


def _too_many_unknown(name: str, unknown: Sequence[Outcome], asked: int) -> MiproWalkError:
    return IncompleteError(
        f"{len(unknown)} of {asked} calls of the {name} failed; the last said: {unknown[-1].reason}",
        "Repair the cause and run the same command again: recorded calls are not asked again.",
    )
