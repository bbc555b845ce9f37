"""The job queue: one job after another in a worker thread; what was running when we died goes on by itself."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from mipro_walk.backend.stops import Wishes
from mipro_walk.errors import IncompleteError, MiproWalkError
from mipro_walk.ledger.store import Job, Ledger, utc_now
from mipro_walk.progress import Progress
from mipro_walk.types import Event

logger = logging.getLogger(__name__)

Execute = Callable[[Job, Wishes, Progress], Mapping[str, Any]]
"""Runs one job to its end and returns its documents. Raises IncompleteError to pause."""

_Running = tuple[str, Wishes, Progress]
SHUTDOWN_SECONDS = 10.0
IN_PROCESS = "in_process"
"""Marks jobs of ``mipro-walk optimize`` in their launch data: another process runs them, not the backend."""


class JobRunner:
    """Owns the worker thread and the wishes and progress of the job it runs."""

    def __init__(self, ledger: Ledger, execute: Execute) -> None:
        self._ledger = ledger
        self._execute = execute
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    def start(self) -> None:
        """Queue what an earlier process left queued or running, then start to work."""
        for job in reversed(self._ledger.list_jobs()):
            if job.status in ("queued", "running") and not job.launch.get(IN_PROCESS):
                if job.status == "running":
                    self._say(job.job_id, "mipro.job.resumed", "The backend was restarted; the job goes on")
                self._ledger.update_job(job.job_id, status="queued")
                self._queue.put(job.job_id)
        self._thread.start()

    def stop(self) -> None:
        """Let the calls in flight end and leave the running job as running, so that the next start goes on."""
        self._stopping = True
        self._queue.put(None)
        with self._lock:
            if self._running is not None:
                self._running[1].pause.set()
        self._thread.join(SHUTDOWN_SECONDS)

    def submit(self, job: Job) -> None:
        """Queue a new job."""
        # The published client names its report after the first event that holds an algorithm's name.
        self._say(job.job_id, f"{job.algorithm}.job.queued", f"Job {job.job_id} queued")
        self._queue.put(job.job_id)

    def cancel(self, job_id: str) -> None:
        """End a job for good; a running one still ranks what it has."""
        with self._lock:
            if running := self._running_of(job_id):
                running[1].cancel.set()
            elif not self._job(job_id).is_terminal:
                self._say(job_id, "mipro.job.cancelled", "Job cancelled")
                self._ledger.update_job(job_id, status="cancelled", finished_at=utc_now())

    def pause(self, job_id: str) -> None:
        """Stop a job after the calls in flight."""
        with self._lock:
            if running := self._running_of(job_id):
                running[1].pause.set()
            elif self._job(job_id).status == "queued":
                self._ledger.update_job(job_id, status="paused")

    def resume(self, job_id: str) -> None:
        """Queue a paused or failed job again."""
        with self._lock:
            if self._job(job_id).status not in ("paused", "failed"):
                return
            again = {"status": "queued", "error": None, "error_code": None, "fix": None, "finished_at": None}
            self._ledger.update_job(job_id, **again)
            self._say(job_id, "mipro.job.resumed", "Resumed: recorded calls answer at once and cost nothing")
        self._queue.put(job_id)

    def progress(self, job_id: str) -> Progress | None:
        """Return the live figures of a job if it is the one that runs."""
        with self._lock:
            running = self._running_of(job_id)
            return None if running is None else running[2]

    def _work(self) -> None:
        while (job_id := self._queue.get()) is not None:
            if not self._stopping:
                self._run(job_id)

    def _run(self, job_id: str) -> None:
        """Run a job that is still queued. It starts and ends under the lock: nobody acts on what it was before."""
        wishes = Wishes()
        with self._lock:
            job = self._job(job_id)
            if job.status != "queued":
                return
            progress = Progress(base_seconds=job.active_seconds)
            self._ledger.update_job(job_id, status="running", started_at=job.started_at or utc_now())
            self._running = (job_id, wishes, progress)
        outcome = self._outcome(job, wishes, progress)
        if self._stopping and outcome["status"] == "paused":
            outcome = {"status": "running"}
        with self._lock:  # nobody finds the figures gone before it is written how the job ended
            try:
                self._ledger.update_job(job_id, active_seconds=progress.elapsed_seconds, **outcome)
            finally:
                self._running = None

    def _running_of(self, job_id: str) -> _Running | None:
        return self._running if self._running is not None and self._running[0] == job_id else None

    def _job(self, job_id: str) -> Job:
        job = self._ledger.job(job_id)
        assert job is not None  # no job is ever deleted
        return job

    def _outcome(self, job: Job, wishes: Wishes, progress: Progress) -> dict[str, Any]:
        """Run the job and return the columns that say how it ended. Events come before the status."""
        try:
            return _ended_well(self._execute(job, wishes, progress))
        except IncompleteError as exc:
            if not self._stopping:
                self._say(job.job_id, "mipro.job.paused", f"Paused: {exc.message}", level="warning")
            return {"status": "paused", "error": exc.message, "fix": exc.fix}
        except MiproWalkError as exc:
            self._say(job.job_id, "mipro.job.failed", f"Failed: {exc.message}", level="error")
            ended = {"status": "failed", "error": exc.message, "error_code": exc.code, "fix": exc.fix}
            return {**ended, "finished_at": utc_now()}
        except Exception as exc:  # a mistake of ours must end the job, not the worker
            logger.exception("job %s", job.job_id)
            message = f"Internal error: {type(exc).__name__}: {exc}"
            self._say(job.job_id, "mipro.job.failed", message, level="error")
            return {"status": "failed", "error": message, "fix": "See the backend's log.", "finished_at": utc_now()}

    def _say(self, job_id: str, kind: str, message: str, level: Any = "info") -> None:
        self._ledger.add_event(job_id, Event(kind, message, {}, level))


def _ended_well(documents: Mapping[str, Any]) -> dict[str, Any]:
    metadata = documents["job_metadata.json"]
    return {
        "status": "cancelled" if metadata["stop_reason"] == "cancelled" else "succeeded",
        "stop_reason": metadata["stop_reason"],
        "best_score": _best_score(documents),
        "documents": dict(documents),
        "finished_at": utc_now(),
    }


def _best_score(documents: Mapping[str, Any]) -> float | None:
    best = documents["best_prompt.json"]
    score = best["score"]
    if score is not None:
        return float(score["winner"] if best["recommendation"] == "winner" else score["baseline"])
    found = best["search_score"]
    return None if found is None else found["mean"]
