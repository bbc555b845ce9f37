"""The job API.

POST /api/prompt-learning/online/jobs              submit; 200 {job_id, status, ...}, 422 with every problem
GET  /api/prompt-learning/online/jobs              {jobs: [status, ...]}, newest first
GET  /api/prompt-learning/online/jobs/{id}         status with progress
GET  .../{id}/events?since_seq=N&limit=M           {events: [...]}, since_seq is exclusive; types=A,B gives those only,
                                                   newest=true the last M of them
GET  .../{id}/events/stream                        the same as server-sent events until the job ends
GET  .../{id}/metrics?limit=M                      {points: [...]}
GET  .../{id}/results                              {documents: {file name: document}}
POST .../{id}/cancel | pause | resume              status
GET  /api/health                                   {service, version, instance_id, pid}

Answers are JSON, but for a plain 413. Errors are {"detail": {"error": {code, message, fix, problems}}}.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from mipro_walk.backend.jobs import IN_PROCESS, JobRunner
from mipro_walk.backend.keys import ENVIRONMENT_KEY_NAME, KeyBox
from mipro_walk.config import parse_config
from mipro_walk.core.algorithms import require_gepa
from mipro_walk.errors import ConfigError
from mipro_walk.ledger.store import Job, Ledger, usage_as_dict
from mipro_walk.progress import Progress
from mipro_walk.types import fingerprint
from mipro_walk.version import VERSION

PREFIX = "/api/prompt-learning/online/jobs"
STREAM_POLL_SECONDS = 0.3
STREAM_KEEPALIVE_POLLS = 30
MAX_EVENTS = 10_000


class Submit(BaseModel):
    """Body of a submit, as the published client sends it."""

    model_config = ConfigDict(extra="allow")

    algorithm: str = "mipro"
    config_body: dict[str, Any]
    overrides: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    auto_start: bool = True


class JobApi:
    """What the routes do, over the ledger and the runner."""

    def __init__(self, ledger: Ledger, runner: JobRunner, box: KeyBox, closing: threading.Event) -> None:
        self._ledger = ledger
        self._closing = closing
        self._runner = runner
        self._box = box
        self._ended: dict[str, tuple[str, dict[str, Any]]] = {}

    def submit(self, body: Submit, idempotency_key: str | None) -> dict[str, Any]:
        """Check, store and queue a job; the same idempotency key gives the same job."""
        config = parse_config(body.config_body, origin="config_body")
        if config.settings.algorithm == "gepa":
            require_gepa()
        key = config.task_app_api_key
        sealed = self._box.seal(key.get_secret_value()) if key else self._ledger.environment_key(ENVIRONMENT_KEY_NAME)
        if not sealed:
            raise ConfigError(
                "No key for the task app: neither task_app_api_key nor a registered ENVIRONMENT_API_KEY.",
                "Run `mipro-walk key`, which registers one.",
            )
        launch = body.metadata.get("launch")
        request_hash = fingerprint([config.as_dict(), launch])
        job = self._ledger.create_job(
            config.as_dict(),
            algorithm=config.settings.algorithm,
            launch={**(launch if isinstance(launch, dict) else {}), "task_app_key_sealed": sealed},
            request_hash=request_hash,
            idempotency_key=idempotency_key,
        )
        if self._ledger.request_hash(job.job_id) != request_hash:
            raise ConfigError(
                f"The idempotency key was used for job {job.job_id} with another body.", "Use a new Idempotency-Key."
            )
        if job.status == "queued" and not self._ledger.events(job.job_id, limit=1):
            self._runner.submit(job)
        return self.status(job)

    def find(self, job_id: str) -> Job:
        """Return a job. Raises 404."""
        job = self._ledger.job(job_id)
        if job is None:
            raise HTTPException(
                404,
                {
                    "error": {
                        "code": "not_found",
                        "message": f"There is no job {job_id[:80]!r}.",
                        "fix": "See `mipro-walk jobs`.",
                    }
                },
            )
        return job

    def status(self, job: Job) -> dict[str, Any]:
        """Return the status document of a job. One that has ended is put together once, until it changes."""
        updated_at, known = self._ended.get(job.job_id, ("", {}))
        if known and updated_at == job.updated_at:
            return known
        live = self._runner.progress(job.job_id)
        if live is None and job.status == "running":  # it may have ended since it was looked up
            job = self.find(job.job_id)
        found = self._status(job, live)
        if job.is_terminal and live is None:
            self._ended[job.job_id] = (job.updated_at, found)
        return found

    def _status(self, job: Job, live: Progress | None) -> dict[str, Any]:
        documents = None if live else self._ledger.documents(job.job_id)
        usage = usage_as_dict(self._ledger.usage(job.job_id))
        progress = live.as_dict() if live else _final_progress(job, documents)
        return {
            "job_id": job.job_id,
            "status": job.status,
            "algorithm": job.algorithm,
            "created_at": job.created_at,
            "updated_at": job.updated_at,
            "started_at": job.started_at,
            "finished_at": job.finished_at,
            "best_score": job.best_score,
            "error": job.error,
            "error_code": job.error_code,
            "fix": job.fix,
            "stop_reason": job.stop_reason,
            "launch": {key: value for key, value in job.launch.items() if key != "task_app_key_sealed"},
            "task_app_url": job.config["prompt_learning"].get("task_app_url"),
            "progress": {**progress, "usage": usage},
            "limits": _limits(job),
            "test": documents["best_prompt.json"]["score"] if documents else None,
            "has_results": documents is not None,
        }

    async def stream(self, job_id: str, since_seq: int) -> AsyncIterator[str]:
        """Yield events as they come, until the job is terminal and its last event is out, or the server closes."""
        idle = 0
        while not self._closing.is_set():
            is_terminal = self.find(job_id).is_terminal
            events = await asyncio.to_thread(self._ledger.events, job_id, since_seq, 500)
            for event in events:
                since_seq = event["seq"]
                yield f"id: {since_seq}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"
            if is_terminal and not events:
                return
            idle = 0 if events else idle + 1
            if idle % STREAM_KEEPALIVE_POLLS == STREAM_KEEPALIVE_POLLS - 1:
                yield ": waiting\n\n"
            await asyncio.sleep(STREAM_POLL_SECONDS)

    def metrics(self, job_id: str, limit: int) -> dict[str, Any]:
        """Return trial scores as metric points."""
        points = [
            {**point, "created_at": event["created_at"]}
            for event in self._ledger.events(job_id, 0, MAX_EVENTS)
            if (point := _metric(event["type"], event["data"])) is not None
        ]
        return {"points": points[-limit:]}


def create_router(api: JobApi, ledger: Ledger, runner: JobRunner, instance_id: str) -> APIRouter:
    """Return the routes named in the module docstring."""
    router = APIRouter()

    @router.get("/api/health")
    def health() -> dict[str, Any]:
        return {"service": "mipro-walk backend", "version": VERSION, "instance_id": instance_id, "pid": os.getpid()}

    @router.post(PREFIX)
    def submit(body: Submit, idempotency_key: Annotated[str | None, Header(max_length=128)] = None) -> dict[str, Any]:
        return api.submit(body, idempotency_key)

    @router.get(PREFIX)
    def list_jobs() -> dict[str, Any]:
        return {"jobs": [api.status(job) for job in ledger.list_jobs()]}

    @router.get(PREFIX + "/{job_id}")
    def status(job_id: str) -> dict[str, Any]:
        return api.status(api.find(job_id))

    @router.get(PREFIX + "/{job_id}/events")
    def events(
        job_id: str,
        since_seq: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_EVENTS)] = 200,
        types: Annotated[str, Query(max_length=2_000)] = "",
        newest: bool = False,
    ) -> dict[str, Any]:
        api.find(job_id)
        wanted = [name for name in types.split(",") if name]
        return {"events": ledger.events(job_id, since_seq, limit, types=wanted, newest=newest)}

    @router.get(PREFIX + "/{job_id}/events/stream")
    def stream(job_id: str, since_seq: Annotated[int, Query(ge=0)] = 0) -> StreamingResponse:
        api.find(job_id)
        return StreamingResponse(
            api.stream(job_id, since_seq), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    @router.get(PREFIX + "/{job_id}/metrics")
    def metrics(job_id: str, limit: Annotated[int, Query(ge=1, le=MAX_EVENTS)] = 200) -> dict[str, Any]:
        api.find(job_id)
        return api.metrics(job_id, limit)

    @router.get(PREFIX + "/{job_id}/results")
    def results(job_id: str) -> dict[str, Any]:
        documents = ledger.documents(api.find(job_id).job_id)
        if documents is None:
            raise HTTPException(
                409,
                {
                    "error": {
                        "code": "not_ready",
                        "message": f"Job {job_id} has no results yet.",
                        "fix": "Wait for it to end.",
                    }
                },
            )
        return {"documents": documents}

    @router.post(PREFIX + "/{job_id}/{action}")
    def act(job_id: str, action: str) -> dict[str, Any]:
        actions: Mapping[str, Any] = {"cancel": runner.cancel, "pause": runner.pause, "resume": runner.resume}
        if action not in actions:
            raise HTTPException(
                404, {"error": {"code": "not_found", "message": f"There is no action {action[:40]!r}."}}
            )
        job = api.find(job_id)
        if action == "resume" and job.launch.get(IN_PROCESS):
            raise ConfigError(
                f"Job {job_id} belongs to `mipro-walk optimize`: the backend has neither its rows nor its key.",
                "Run that command again; it goes on with the job.",
            )
        actions[action](job.job_id)
        return api.status(api.find(job_id))

    return router


def _limits(job: Job) -> dict[str, Any]:
    """Return what may stop the job: rollouts, dollars, seconds; ``None`` is no limit."""
    given = job.config["prompt_learning"].get("termination_config") or {}
    return {name: given.get(name) for name in ("budget", "max_cost_usd", "max_time_seconds")}


def _metric(kind: str, data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the point of a trial of MIPRO, or of an instruction that GEPA scored on val."""
    if kind == "mipro.trial.complete" and data["minibatch_score"] is not None:
        name, value, step, n = "mipro.trial.score", data["minibatch_score"], data["iteration"], data["num_seeds"]
    elif kind == "prompt.learning.trial.results":
        name, value, step, n = "gepa.transformation.mean_score", data["mean"], data["instruction"], data["completed"]
    else:
        return None
    return {"name": name, "value": value, "step": step, "data": {"n": n}}


def _final_progress(job: Job, documents: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the progress of a job that does not run: from its documents, else what little is known."""
    found: dict[str, Any] = dict(documents["job_metadata.json"]["progress"]) if documents else {"phase": job.status}
    return {"phase": "done" if documents else job.status, **found, "elapsed_seconds": round(job.active_seconds, 1)}
