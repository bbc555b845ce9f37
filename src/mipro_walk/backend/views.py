"""What people look at, made from a job by the report's own parts.

GET /api/prompt-learning/online/jobs/{id}/chart    {"svg": progression of the search or null, "trials": how many}
GET /api/prompt-learning/online/jobs/{id}/report   the report as HTML; 409 before there are results
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, HTTPException, Response

from mipro_walk.backend.routes import MAX_EVENTS, PREFIX
from mipro_walk.ledger.store import Job, Ledger

TRIAL = "mipro.trial.complete"
GEPA_TRIAL = "prompt.learning.trial.results"
BASELINE = "mipro.baseline.val"
FINALIST = "mipro.topk.scored"
MIN_SECONDS = 2.0
SHARE_OF_TIME = 20.0
"""A chart is drawn again after 20 times what drawing took: the process that draws is the one that runs the job."""
MAX_KEPT = 50


@dataclass(frozen=True)
class Drawing:
    """One chart. ``due`` is when it may be drawn again, by the monotonic clock."""

    svg: str | None
    trials: int
    seen: int
    due: float


class Views:
    """Charts of jobs, each kept until there is something new to draw and time to do it."""

    def __init__(self, ledger: Ledger, now: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._now = now
        self._drawings: dict[str, Drawing] = {}
        self._lock = threading.Lock()

    def chart(self, job: Job) -> dict[str, Any]:
        """Return the progression so far; while it is not yet due, the one that was drawn last."""
        with self._lock:
            known = self._drawings.get(job.job_id)
            if known is None or self._now() >= known.due or job.is_terminal:
                known = self._drawn(job, known)
            return {"svg": known.svg, "trials": known.trials}

    def report(self, job: Job) -> str:
        """Return the report of a job that has results.

        Raises:
            MiproWalkError: it cannot be made.
        """
        from mipro_walk.report.page import render_report

        documents = self._ledger.documents(job.job_id)
        if documents is None:
            message = f"Job {job.job_id} has no results yet."
            raise HTTPException(409, {"error": {"code": "not_ready", "message": message, "fix": "Wait for it to end."}})
        return render_report(documents)

    def _drawn(self, job: Job, known: Drawing | None) -> Drawing:
        types = (TRIAL, GEPA_TRIAL, BASELINE, FINALIST)
        newest = self._ledger.events(job.job_id, limit=1, types=types, newest=True)
        last = newest[0]["seq"] if newest else 0
        if known is not None and known.seen == last:
            return known
        from mipro_walk.report.charts.progression import progression

        events = self._ledger.events(job.job_id, limit=MAX_EVENTS, types=types)
        history = history_of(events)
        started = self._now()
        svg = progression(history)
        pause = max(MIN_SECONDS, SHARE_OF_TIME * (self._now() - started))
        drawing = Drawing(svg, len(history["iterations"]), last, self._now() + pause)
        self._drawings.pop(job.job_id, None)
        while len(self._drawings) >= MAX_KEPT:
            del self._drawings[next(iter(self._drawings))]
        self._drawings[job.job_id] = drawing
        return drawing


def history_of(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what events say of a search so far, in the shape of ``score_history.json``."""
    trials: list[Mapping[str, Any]] = []
    baseline: dict[str, Any] = {}
    finalists: list[Mapping[str, Any]] = []
    for event in events:
        kind, data = event["type"], event["data"]
        if kind == TRIAL:
            trials.append(data)
        elif kind == GEPA_TRIAL:
            trials.append(_gepa_trial(data))
            if data.get("instruction") == 0:
                baseline = {"score": data["mean"], "n": data["completed"]}
        elif kind == BASELINE:
            baseline = {"score": data["score"], "n": data["num_seeds"]}
        elif kind == FINALIST:
            finalists.append(data)
    algorithm = "gepa" if any(event["type"] == GEPA_TRIAL for event in events) else "mipro"
    return {"algorithm": algorithm, "iterations": trials, "baseline": baseline, "finalists": finalists}


def _gepa_trial(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a member of GEPA's population as a trial: it has no demonstrations and no pooled estimate."""
    return {
        "instruction": data.get("instruction", 0),
        "minibatch_score": data.get("mean"),
        "num_seeds": data.get("completed", 0),
        "best_score": data.get("best_score"),
    }


def create_router(find: Callable[[str], Job], ledger: Ledger) -> APIRouter:
    """Return the routes named in the module docstring. ``find`` answers 404 for an unknown job."""
    views = Views(ledger)
    router = APIRouter()

    @router.get(PREFIX + "/{job_id}/chart")
    def chart(job_id: str) -> dict[str, Any]:
        return views.chart(find(job_id))

    @router.get(PREFIX + "/{job_id}/report")
    def report(job_id: str) -> Response:
        return Response(views.report(find(job_id)), media_type="text/html; charset=utf-8")

    return router
