"""The world of backend jobs: a task app over HTTP, whose model calls pass through our interceptor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mipro_walk.backend.interceptor import Interceptor, RolloutPolicy
from mipro_walk.backend.stops import Wishes
from mipro_walk.clients.chat import ChatGateway
from mipro_walk.clients.replies import CallFailed, without_surrogates
from mipro_walk.clients.task_app import TaskAppClient, TaskAppInfo
from mipro_walk.config import Pool, RunConfig
from mipro_walk.config.models import proposal_tokens
from mipro_walk.errors import ConfigError, IncompleteError
from mipro_walk.prompting import candidate_messages
from mipro_walk.request_template import QueryNotShownError, make_template
from mipro_walk.types import Example, Outcome, Rollout, Split, Task, fingerprint

RETRY_PAUSES_SECONDS = (0.5, 2.0)
"""Before the second and the third try of a rollout at a task app that fails."""
SETTLE_SECONDS = 0.5
"""An outcome without a score waits so long for the news that everything is being stopped."""
PINNED: Split = "pinned"
JUDGE_TEMPERATURE, JUDGE_TOKENS = 0.0, 16
MAX_POOL_ROWS = 500
"""Rows taken from a split when the config names no seeds."""

SeeRequest = Callable[[str, Mapping[str, Any] | None], None]
"""Hears of each request that was answered: the prompt's hash and the request's template, ``None`` if it has none."""


def ignore_request(_prompt_hash: str, _template: Mapping[str, Any] | None) -> None:
    """Hear of a request and do nothing."""


@dataclass
class GatewayWorld:
    """What every world has: a configuration, one gateway for each model, and a person's wishes."""

    config: RunConfig
    policy: ChatGateway
    meta: ChatGateway
    judge: ChatGateway
    wishes: Wishes
    notes: list[str]
    see_request: SeeRequest = field(default=ignore_request, kw_only=True)

    def source(self) -> str:
        """Return in words where the rows come from."""
        raise NotImplementedError

    def needs_judge(self) -> bool:
        """Return whether a judge scores the answers."""
        return False

    def models(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what identifies the models: policy and meta-model, and the judge if there is one."""
        policy = self.config.policy
        endpoint = self.judge.endpoint
        judge = {"provider": endpoint.provider, "model": endpoint.model, **self.config.meta.identity()}
        return {
            **({"judge": judge} if self.needs_judge() else {}),
            "policy": {
                "provider": self.policy.endpoint.provider,
                "model": self.policy.endpoint.model,
                "temperature": policy.temperature,
                "max_completion_tokens": policy.max_completion_tokens,
                "output_mode": policy.output_mode,
                **self.config.model("policy").identity(),
            },
            "meta": {
                "provider": self.meta.endpoint.provider,
                "model": self.meta.endpoint.model,
                **self.config.meta.identity(),
            },
        }

    def notices(self) -> list[str]:
        """Return what was noted when the job was prepared, and the data source."""
        return [*self.notes, f"Data: {self.source()}"]

    def note_request(self, rollout: Rollout, query: str, sent: Mapping[str, Any]) -> None:
        """Tell with which request a rollout was answered."""
        try:
            template = make_template(sent, without_surrogates(query))
        except QueryNotShownError:
            self.see_request(rollout.candidate.prompt_hash, None)
        else:
            if template is not None:
                self.see_request(rollout.candidate.prompt_hash, template.as_dict())

    def complete(self, messages: list[dict[str, Any]], temperature: float) -> str:
        """Ask the meta-model for text; an answer without text, or one that was cut off, is empty.

        Raises:
            IncompleteError: it cannot be asked; resuming asks again.
        """
        self.wishes.raise_if_paused()
        body = {
            "model": self.meta.endpoint.model,
            "messages": messages,
            "temperature": temperature,
            "max_completion_tokens": self._proposal_tokens(),
        }
        try:
            completion = self.meta.complete_sync(body, "proposal")
        except CallFailed as failure:
            self.wishes.raise_if_paused()
            raise cannot_ask("meta-model", failure) from failure
        choice = completion["choices"][0]
        content = choice["message"].get("content")
        return content if isinstance(content, str) and choice.get("finish_reason") != "length" else ""

    def _proposal_tokens(self) -> int:
        """Return the configured length; another provider's default where a backend maps the model to another one."""
        meta, algorithm = self.config.meta, self.config.settings.algorithm
        if meta.max_completion_tokens != proposal_tokens(meta.provider, meta.options, algorithm):
            return meta.max_completion_tokens
        return proposal_tokens(self.meta.endpoint.provider, meta.options, algorithm)


def seeds_of(pool: Pool, rows: int, limit: int) -> list[int]:
    """Return the seeds that a pool names, or the first ones of a split with ``rows`` rows."""
    return list(range(min(limit, rows))) if pool.seeds is None else list(pool.seeds)


def limits_of(config: RunConfig) -> Mapping[Split, int]:
    """Return the most rows that are taken of a split when no seeds are named."""
    return {"train": MAX_POOL_ROWS, "val": MAX_POOL_ROWS, "test": config.settings.test_size}


def pools_of(config: RunConfig) -> Mapping[Split, Pool]:
    """Return the pools by purpose."""
    pools = config.pools
    return {"train": pools.train, "val": pools.val, "test": pools.test}


def rows_identity(app_hash: str, rows: Mapping[Split, Sequence[Example]]) -> str:
    """Return what identifies a job's rows: the same over HTTP and in process, so that each finds the other's outcomes.

    ``app_hash`` is what :attr:`TaskAppInfo.dataset_hash` is, or would be if the task were served.
    """
    return fingerprint([app_hash, {name: [[r.seed, r.query, r.label] for r in rows[name]] for name in rows}])


@dataclass
class TaskAppWorld(GatewayWorld):
    """Jobs against a task app over HTTP, whose model calls pass through our interceptor."""

    task_app: TaskAppClient
    interceptor: Interceptor
    interceptor_url: str
    _info: TaskAppInfo | None = None
    _instruction: str = ""
    _splits: Mapping[Split, str] | None = None
    _queries: dict[tuple[Split, int], str] = field(default_factory=dict)

    def load_task(self) -> Task:
        """Ask the task app what it is about and for the rows of the three pools."""
        config = self.config
        info = self._info = self.task_app.info(config.env_config)
        self._instruction = config.baseline_instruction or info.instruction
        if not self._instruction:
            raise ConfigError(
                "The task app gives no baseline instruction.",
                "Give one in [prompt_learning.initial_prompt], or let /task_info answer prompt.instruction.",
            )
        pools, limits = pools_of(config), limits_of(config)
        self._splits = {name: pool.split or info.default_split for name, pool in pools.items()} | {PINNED: PINNED}
        rows = {
            name: self.task_app.rows(self._splits[name], self._seeds(info, name, pool, limits[name]), config.env_config)
            for name, pool in pools.items()
        }
        pinned = self.task_app.rows(PINNED, range(info.split_rows.get(PINNED, 0)), config.env_config)
        self._queries = {(name, row.seed): row.query for name in rows for row in rows[name]}
        self._queries |= {(PINNED, row.seed): row.query for row in pinned}
        return Task(
            name=info.task_app_id,
            description=info.description or info.name,
            instruction=self._instruction,
            train=rows["train"],
            val=rows["val"],
            test=rows["test"],
            labels=info.labels,
            dataset_hash=rows_identity(info.dataset_hash, rows),
            kind=info.kind,
            fixed=info.fixed,
            pinned=pinned,
        )

    def source(self) -> str:
        """Return what the task app says of its data."""
        return self._info.source if self._info else "unknown"

    def needs_judge(self) -> bool:
        """Return whether the app says that a judge scores its answers."""
        return self._info is not None and self._info.needs_judge

    def run_rollout(self, rollout: Rollout) -> Outcome:
        """Let the task app answer one row with the candidate's prompt; ask again if the app itself fails.

        A failed model call has been retried by the gateway. A failure during a pause is not an outcome at all: while
        servers are stopped, calls fail that would have gone well.
        """
        for pause in (*RETRY_PAUSES_SECONDS, None):
            self.wishes.raise_if_paused()
            outcome, is_model_failure = self._try_rollout(rollout)
            if outcome.is_known or is_model_failure or pause is None:
                break
            self.wishes.pause.wait(pause)
        if not outcome.is_known:
            self.wishes.pause.wait(SETTLE_SECONDS)
            self.wishes.raise_if_paused()
        return outcome

    def _try_rollout(self, rollout: Rollout) -> tuple[Outcome, bool]:
        """Return how the rollout ended, and whether it was the model that failed."""
        policy = self.config.policy
        trial_id = self.interceptor.open(
            rollout.candidate,
            self._instruction,
            self.policy,
            RolloutPolicy(policy.temperature, policy.max_completion_tokens),
            tag=rollout.tag,
        )
        judge_id = self._open_judge()
        try:
            outcome = self.task_app.rollout(self._rollout_body(rollout, trial_id, judge_id))
        finally:
            trace = self.interceptor.close(trial_id)
            judged = self.interceptor.close(judge_id) if judge_id else None
        if (fatal := self.policy.fatal_failure) is not None:
            raise cannot_ask("policy model", fatal)
        if (fatal := self.judge.fatal_failure) is not None:
            raise cannot_ask("judge", fatal)
        if judged is not None and judged.failure is not None:
            return Outcome(None, None, f"the judge's call failed: {judged.failure.reason}"), True
        if trace is not None and trace.failure is not None:
            # Whatever score the app made of a call that failed, it measured nothing.
            return Outcome(None, None, f"the model call failed: {trace.failure.reason}"), True
        if trace is not None and outcome.is_known:
            for exchange in trace.exchanges:
                if exchange.sent:
                    self.note_request(rollout, self._queries[rollout.split, rollout.seed], exchange.sent)
        return outcome, False

    def _open_judge(self) -> str:
        """Open the way to the judge for one rollout; ``""`` if none is needed."""
        if not self.needs_judge():
            return ""
        policy = RolloutPolicy(JUDGE_TEMPERATURE, JUDGE_TOKENS, self.judge.endpoint.model)
        return self.interceptor.open(None, "", self.judge, policy)

    def _seeds(self, info: TaskAppInfo, name: Split, pool: Pool, limit: int) -> list[int]:
        assert self._splits is not None
        split = self._splits[name]
        if pool.seeds is None and split not in info.split_rows:
            raise ConfigError(
                f"The task app does not say how many rows its split {split!r} has.",
                "Name the seeds: bootstrap_train_seeds, online_pool, test_pool.",
            )
        return seeds_of(pool, info.split_rows.get(split, 0), limit)

    def _rollout_body(self, rollout: Rollout, trial_id: str, judge_id: str) -> dict[str, Any]:
        """Return the request; the prompt goes both ways, by the interceptor's URL and as a template."""
        assert self._splits is not None
        policy = self.config.policy
        split = self._splits[rollout.split]
        return {
            "run_id": trial_id,
            "mode": "eval",
            "ops": ["policy"],
            "env": {
                "env_name": self.config.task_app_id or "",
                "seed": rollout.seed,
                "config": {**self.config.env_config, "split": split, "pool": split},
            },
            "policy": {
                "policy_name": "mipro-walk",
                "output_mode": policy.output_mode,
                "config": {
                    "inference_url": f"{self.interceptor_url}/{trial_id}?cid=trace_{trial_id}",
                    "model": self.policy.endpoint.model,
                    "provider": self.policy.endpoint.provider,
                    "temperature": policy.temperature,
                    "max_completion_tokens": policy.max_completion_tokens,
                    "trace_correlation_id": f"trace_{trial_id}",
                    "timeout_seconds": self.policy.deadline_seconds + 5.0,
                    **({"judge_url": f"{self.interceptor_url}/{judge_id}"} if judge_id else {}),
                    **self._template(rollout),
                },
            },
        }

    def _template(self, rollout: Rollout) -> dict[str, Any]:
        """Return the rendered prompt for apps that do not tell their own messages: they may not ask through us."""
        if self._info is not None and "prompt" in self._info.raw:
            return {}
        return {"prompt_template": {"messages": candidate_messages(rollout.candidate)}}


def cannot_ask(who: str, failure: CallFailed) -> IncompleteError:
    """Return the error that pauses a job whose model cannot be asked."""
    return IncompleteError(f"The {who} cannot be asked: {failure.reason}", "Repair the cause, then resume.")
