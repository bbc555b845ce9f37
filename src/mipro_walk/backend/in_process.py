"""``mipro-walk optimize``: a job in this process, without a task app or a backend.

The same execution, ledger and gateways as in the backend; only the world differs: rows, question and scoring of
Banking77 or of a project are called directly, and the candidate is put into the question by the same function as in
the interceptor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipro_walk.backend.interceptor import RolloutPolicy, trial_request
from mipro_walk.backend.jobs import IN_PROCESS, JobRunner
from mipro_walk.backend.preparation import JobPreparation, MakeWorld, Prepared
from mipro_walk.backend.project_world import ProjectWorld
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.backend.world import GatewayWorld, cannot_ask, limits_of, pools_of, rows_identity, seeds_of
from mipro_walk.clients.gateway_thread import GatewayThread
from mipro_walk.clients.replies import CallFailed
from mipro_walk.config import RunConfig
from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError
from mipro_walk.execution import World
from mipro_walk.ledger import Job, Ledger
from mipro_walk.ledger.store import usage_as_dict
from mipro_walk.project.loading import Project
from mipro_walk.types import Example, Outcome, Rollout, Split, Task, fingerprint
from task_apps.banking77.data import DataError, TaskData, TaskSlice
from task_apps.banking77.documents import TASK
from task_apps.banking77.prompts import BASELINE_INSTRUCTION, answer_form, own_messages
from task_apps.banking77.scoring import score_reply
from task_apps.banking77.sources import DataSource, load_task_data
from task_apps.serving.contract import ModelReply, PoolError, ToolCall

SILENT_SECONDS = 5.0
"""After so long without an event a person is told that the job lives."""

NAMED_SOURCES = {"sample": DataSource("sample"), "hub": DataSource("hub")}


@dataclass
class Banking77World(GatewayWorld):
    """Banking77 without HTTP between the optimizer and its rows."""

    data: TaskData
    _slice: TaskSlice | None = None

    def load_task(self) -> Task:
        """Return the slice that ``env_config`` names, with the rows of the three pools."""
        self._slice, task = read_task(self.config, self.data)
        return task

    def source(self) -> str:
        """Return the name and detail of the data source."""
        return f"{self.data.source.name}: {self.data.source.detail}"

    def run_rollout(self, rollout: Rollout) -> Outcome:
        """Ask the policy model Banking77's question with the candidate in it, and score the answer."""
        self.wishes.raise_if_paused()
        assert self._slice is not None
        policy, labels = self.config.policy, self._slice.labels
        split = pools_of(self.config)[rollout.split].split or "train"
        row = self._slice.pool(split).rows[rollout.seed]
        question = {
            "messages": own_messages(policy.output_mode, row.text, labels),
            **answer_form(policy.output_mode, labels),
        }
        how = RolloutPolicy(policy.temperature, policy.max_completion_tokens)
        request = trial_request(question, rollout.candidate, baseline_of(self.config), how)
        try:
            completion = self.policy.complete_sync(request, rollout.tag)
        except CallFailed as failure:
            self.wishes.raise_if_paused()
            if self.policy.fatal_failure is not None:
                raise cannot_ask("policy model", failure) from failure
            return Outcome(None, None, f"the model call failed: {failure.reason}")
        self.note_request(rollout, row.text, self.policy.as_sent(request))
        score = score_reply(read_reply(completion), row.label, labels, policy.output_mode)
        return Outcome(score.reward, score.predicted, score.reason or "")


def read_task(config: RunConfig, data: TaskData) -> tuple[TaskSlice, Task]:
    """Return the slice that ``env_config`` names, and the task with the rows of the three pools.

    Raises:
        ConfigError: the slice or a seed does not exist.
    """
    try:
        found = data.slice(config.env_config.get("num_intents"))
        rows = {name: _rows(config, found, name) for name in pools_of(config)}
    except PoolError as exc:
        raise ConfigError(str(exc), "Correct env_config or the seeds.") from exc
    hashes = {name: pool.sha256 for name, pool in found.pools.items()}
    return found, Task(
        name=str(TASK["id"]),
        description=str(TASK["description"]),
        instruction=baseline_of(config),
        train=rows["train"],
        val=rows["val"],
        test=rows["test"],
        labels=found.labels,
        dataset_hash=rows_identity(fingerprint(hashes), rows),
    )


def baseline_of(config: RunConfig) -> str:
    """Return the instruction to start from."""
    return config.baseline_instruction or BASELINE_INSTRUCTION


def _rows(config: RunConfig, found: TaskSlice, name: Split) -> list[Example]:
    pool = pools_of(config)[name]
    rows = found.pool(pool.split or "train").rows
    seeds = seeds_of(pool, len(rows), limits_of(config)[name])
    if outside := [seed for seed in seeds if seed >= len(rows)]:
        raise ConfigError(
            f"Seed {outside[0]} is out of range: {pool.split or 'train'} has {counted(len(rows), 'row')}.",
            "Use seeds below that number.",
        )
    return [Example(seed, rows[seed].text, rows[seed].label) for seed in seeds]


def read_reply(completion: Mapping[str, Any]) -> ModelReply:
    """Return what Banking77 scores of a chat completion."""
    message = completion["choices"][0]["message"]
    content = message.get("content")
    calls = [call.get("function") or {} for call in message.get("tool_calls") or [] if isinstance(call, dict)]
    return ModelReply(
        content if isinstance(content, str) else "",
        tuple(ToolCall(str(call.get("name")), str(call.get("arguments"))) for call in calls),
    )


def load_data(source: str = "sample") -> TaskData:
    """Load Banking77 rows from ``sample``, ``hub`` or a path. Raises ConfigError."""
    try:
        return load_task_data(NAMED_SOURCES.get(source) or DataSource("path", Path(source)))
    except DataError as exc:
        raise ConfigError(str(exc), "Give a readable file or folder with --data, or leave it out.") from exc


def in_process_worlds(data: TaskData | Project) -> MakeWorld:
    """Return what makes the world of an in-process job, on Banking77 or on a project."""

    def make(prepared: Prepared) -> World:
        if isinstance(data, Project):
            return ProjectWorld(**prepared.shared(), project=data)
        return Banking77World(**prepared.shared(), data=data)

    return make


def run_in_process(
    settings: BackendSettings,
    config: RunConfig,
    data: TaskData | Project,
    say: Callable[[str], None],
    poll_seconds: float = 0.2,
    on_status: Callable[[Mapping[str, Any]], None] = lambda _status: None,
    command: str = "",
) -> tuple[Job, dict[str, Any] | None]:
    """Run a job to its end, saying each event's message; go on with an unfinished one of the same configuration.

    Returns the job and its documents, ``None`` if it has none. Ctrl-C pauses the job and is passed on.
    ``on_status`` hears every five silent seconds how far the job is. ``command`` is kept with the job, to say what goes
    on with it.
    """
    ledger = Ledger(settings.database)
    preparation = JobPreparation(settings, ledger, in_process_worlds(data))
    runner = JobRunner(ledger, preparation.run)
    try:
        job = _unfinished(ledger, config, data) or ledger.create_job(
            config.as_dict(),
            algorithm=config.settings.algorithm,
            launch={IN_PROCESS: True, "rows": data_hash(data), "command": command},
            request_hash=config.config_hash,
        )
        with GatewayThread() as thread:
            preparation.start(thread.loop)
            runner.start()
            _go_on(ledger, runner, job)
            try:
                _follow(ledger, job.job_id, say, poll_seconds, lambda: on_status(_status(ledger, runner, job.job_id)))
            except KeyboardInterrupt:
                say("Pausing after the calls in flight.")
                raise
            finally:
                ended = ledger.job(job.job_id)
                if ended is not None and ended.status == "running":
                    runner.pause(job.job_id)
                runner.stop()
        found = ledger.job(job.job_id)
        assert found is not None
        return found, ledger.documents(job.job_id)
    finally:
        preparation.close()
        ledger.close()


def data_hash(data: TaskData | Project) -> str:
    """Identify the rows of a data source."""
    if isinstance(data, Project):
        return data.identity
    return fingerprint({name: [[row.text, row.label] for row in rows] for name, rows in data.splits.items()})


def _unfinished(ledger: Ledger, config: RunConfig, data: TaskData | Project) -> Job | None:
    rows = data_hash(data)
    return next(
        (
            job
            for job in ledger.list_jobs()
            if not job.is_terminal
            and job.launch.get(IN_PROCESS)
            and job.launch.get("rows") == rows
            and ledger.request_hash(job.job_id) == config.config_hash
        ),
        None,
    )


def _go_on(ledger: Ledger, runner: JobRunner, job: Job) -> None:
    if job.status == "paused":
        runner.resume(job.job_id)
    else:
        ledger.update_job(job.job_id, status="queued")
        runner.submit(job)


def _follow(
    ledger: Ledger, job_id: str, say: Callable[[str], None], poll_seconds: float, beat: Callable[[], None]
) -> None:
    seen, heard_at = 0, time.monotonic()
    while True:
        job = ledger.job(job_id)
        for event in ledger.events(job_id, seen):
            seen, heard_at = event["seq"], time.monotonic()
            say(event["message"])
        if job is not None and (job.is_terminal or job.status == "paused"):
            return
        if time.monotonic() - heard_at >= SILENT_SECONDS:
            heard_at = time.monotonic()
            beat()
        time.sleep(poll_seconds)


def _status(ledger: Ledger, runner: JobRunner, job_id: str) -> dict[str, Any]:
    """Return how far a job is, as ``GET /jobs/{id}`` tells it."""
    progress, job = runner.progress(job_id), ledger.job(job_id)
    assert job is not None
    figures = {} if progress is None else progress.as_dict()
    return {
        "job_id": job_id,
        "status": job.status,
        "progress": {**figures, "usage": usage_as_dict(ledger.usage(job_id))},
    }
