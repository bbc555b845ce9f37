"""What a job needs before it can run: keys, endpoints, the local model, gateways, its world."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from mipro_walk.backend.interceptor import PREFIX as INTERCEPTOR_PREFIX
from mipro_walk.backend.interceptor import Interceptor
from mipro_walk.backend.keys import KeyBox
from mipro_walk.backend.local_model import LocalModel
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.backend.stops import LiveStops, Spent, Wishes, money_cap
from mipro_walk.backend.world import SeeRequest, TaskAppWorld, ignore_request
from mipro_walk.clients.attempts import Attempt as GatewayAttempt
from mipro_walk.clients.chat import ChatGateway
from mipro_walk.clients.task_app import TaskAppClient
from mipro_walk.config import ModelConfig, Role, RunConfig, parse_config
from mipro_walk.config.sections import Provider
from mipro_walk.config.trust import load_trust
from mipro_walk.core.plan import SearchPlan
from mipro_walk.errors import ConfigError
from mipro_walk.execution import JobContext, World, execute
from mipro_walk.forecast import Forecast
from mipro_walk.gateways import Gateways, key_note
from mipro_walk.ledger import Attempt, Job, Ledger, RecordedRequests
from mipro_walk.ledger.store import total_cost
from mipro_walk.loopback import is_loopback
from mipro_walk.progress import Progress


@dataclass(frozen=True)
class Prepared:
    """What a world is made of. ``stack`` closes what the world opens when the job ends."""

    job: Job
    config: RunConfig
    policy: ChatGateway
    meta: ChatGateway
    judge: ChatGateway
    wishes: Wishes
    notes: list[str]
    stack: ExitStack
    see_request: SeeRequest = ignore_request

    def shared(self) -> dict[str, Any]:
        """Return what every world has of it, by name."""
        names = ("config", "policy", "meta", "judge", "wishes", "notes", "see_request")
        return {name: getattr(self, name) for name in names}


MakeWorld = Callable[[Prepared], World]
Label = Callable[[str, str], str]
"""Returns the tag under which the ledger keeps a call, from its role and the tag it was made with."""


def keep_tag(_role: str, tag: str) -> str:
    """Return the tag that a call was made with."""
    return tag


class JobPreparation:
    """Builds each job's surroundings and runs it in them; keeps the local model for the next one."""

    def __init__(self, settings: BackendSettings, ledger: Ledger, make_world: MakeWorld) -> None:
        self._settings = settings
        self._ledger = ledger
        self._make_world = make_world
        self._local_model = LocalModel(settings.home, settings.model_path)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Remember the loop that gateways run on."""
        self._loop = loop

    def close(self) -> None:
        """Stop what was started for jobs."""
        self._local_model.stop()

    def run(self, job: Job, wishes: Wishes, progress: Progress) -> dict[str, Any]:
        """Run one job to its end. Raises what :func:`~mipro_walk.execution.execute` raises."""
        with self.world(job, wishes) as (config, world):
            context = JobContext(
                ledger=self._ledger,
                job=job,
                config=config,
                make_stops=lambda forecast, plan: self._stops(job, config, wishes, progress, forecast, plan),
                see=progress.see,
                on_outcome=progress.count,
                elapsed_seconds=lambda: progress.elapsed_seconds,
                progress=progress.as_dict,
            )
            return execute(context, world)

    @contextmanager
    def world(self, job: Job, wishes: Wishes) -> Iterator[tuple[RunConfig, World]]:
        """Build what a job's rollouts need, and close it again."""
        settings = self._settings
        trust = load_trust(settings.environ, settings.home)
        config = parse_config(job.config, origin=f"job {job.job_id}", trust=trust)
        with ExitStack() as stack:
            requests = RecordedRequests(self._ledger, job.job_id)
            prepared = self.prepare(job, config, wishes, stack)
            yield config, self._make_world(replace(prepared, see_request=requests.see))

    def prepare(
        self, job: Job, config: RunConfig, wishes: Wishes, stack: ExitStack, label: Label = keep_tag
    ) -> Prepared:
        """Open the gateways, whose attempts go to the ledger under ``job`` with the tag that ``label`` gives them."""
        assert self._loop is not None
        settings, notes = self._settings, list[str]()
        trust = load_trust(settings.environ, settings.home)
        gateways = Gateways(config, settings.environ, trust, self._local_model.endpoint, self._loop)
        policy = self._gateway(job, "policy", gateways, notes, stack, label)
        meta = self._gateway(job, "meta", gateways, notes, stack, label)
        # The judge is the meta-model under a name of its own: its calls are counted and priced apart.
        judge = self._gateway(job, "judge", gateways, [], stack, label)
        return Prepared(job, config, policy, meta, judge, wishes, notes, stack)

    def _gateway(
        self,
        job: Job,
        name: Literal["policy", "meta", "judge"],
        gateways: Gateways,
        notes: list[str],
        stack: ExitStack,
        label: Label,
    ) -> ChatGateway:
        role: Role = "policy" if name == "policy" else "meta"
        model = gateways.config.model(role)
        asked = f"{model.provider}/{model.model}"
        if used := self._settings.model_map.get(asked):
            notes.append(f"The {role} model {asked} is mapped to {used} on this backend")
            model = mapped(model, used)
        gateway = gateways.make(
            role,
            lambda attempt: self._ledger.add_call(job.job_id, to_ledger(name, attempt, label(name, attempt.tag))),
            model,
        )
        stack.callback(gateway.close_sync)
        if note := key_note(gateway.endpoint, gateways.environ):
            notes.append(note)
        return gateway

    def _stops(
        self, job: Job, config: RunConfig, wishes: Wishes, progress: Progress, forecast: Forecast, plan: SearchPlan
    ) -> LiveStops:
        def spent() -> Spent:
            dearest = sum(self._ledger.dearest_call(job.job_id, role) for role in ("policy", "judge"))
            return Spent(total_cost(self._ledger.usage(job.job_id)), dearest)

        return LiveStops(
            wishes=wishes,
            elapsed_seconds=lambda: progress.elapsed_seconds,
            spent=spent,
            max_time_seconds=config.settings.max_time_seconds,
            money=money_cap(config.settings.max_cost_usd, forecast, plan),
        )


def task_app_worlds(settings: BackendSettings, box: KeyBox, interceptor: Interceptor, base_url: str) -> MakeWorld:
    """Return what makes the world of a job against a task app over HTTP."""

    def make(prepared: Prepared) -> World:
        config = prepared.config
        if not settings.allow_remote_task_apps and not is_loopback(config.task_app_url):
            raise ConfigError(
                f"The task app {config.task_app_url} is not on this machine.",
                "Start the backend with --allow-remote-task-apps if you trust it.",
            )
        key = box.open(str(prepared.job.launch["task_app_key_sealed"]))
        seconds = prepared.policy.deadline_seconds + 10.0
        task_app = TaskAppClient(config.task_app_url, key, rollout_timeout_seconds=seconds)
        prepared.stack.callback(task_app.close)
        return TaskAppWorld(
            **prepared.shared(),
            task_app=task_app,
            interceptor=interceptor,
            interceptor_url=f"{base_url}{INTERCEPTOR_PREFIX}",
        )

    return make


def mapped(model: ModelConfig, used: str) -> ModelConfig:
    """Return the model that this backend uses instead; what was said of the other's key and price is not its own."""
    name = used.partition("/")[2]
    provider = next((known for known in get_args(Provider) if used.startswith(f"{known}/")), None)
    if provider is None:
        raise ConfigError(f"{used!r} names no provider.", f"Use one of {', '.join(get_args(Provider))}.")
    options = replace(
        model.options, api_key_env=None, extra_headers=None, input_price_per_million=None, output_price_per_million=None
    )
    return replace(model, provider=provider, model=name, options=options)


def to_ledger(role: str, attempt: GatewayAttempt, tag: str | None = None) -> Attempt:
    """Return a gateway's attempt as the ledger keeps it; a ``tag`` replaces its own."""
    return Attempt(
        role=role,
        tag=attempt.tag if tag is None else tag,
        attempt=attempt.number,
        provider=attempt.provider,
        model=attempt.model_answered or attempt.model_asked,
        status=attempt.status,
        http_status=attempt.http_status,
        error=attempt.error,
        prompt_tokens=attempt.prompt_tokens,
        completion_tokens=attempt.completion_tokens,
        cached_tokens=attempt.cached_tokens,
        cost_usd=attempt.cost_usd,
        latency_seconds=attempt.latency_seconds,
        started_at=attempt.started_at,
    )
