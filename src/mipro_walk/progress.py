"""How far a job is, for status answers: counted while it runs, never decided upon."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mipro_walk.types import Event, Outcome

MIN_PACE_ROLLOUTS = 5
PHASES = {1: "bootstrap", 2: "search", 3: "test", 4: "ablation"}
GEPA_PHASES = {1: "baseline", 2: "evolution", 3: "test"}


@dataclass
class Progress:
    """Live figures of the job that runs. ``base_seconds`` is the time earlier sessions took."""

    base_seconds: float = 0.0
    phases: Mapping[int, str] = field(default_factory=lambda: PHASES)
    phase: str = "starting"
    phase_number: int = 0
    iteration: int = 0
    num_iterations: int = 0
    rollouts_planned: int = 0
    rollouts_done: int = 0
    rollouts_made: int = 0
    best_score: float | None = None
    best_n: int = 0
    unknown: int = 0
    _started: float = field(default_factory=time.monotonic)
    _search_started: tuple[float, int] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def elapsed_seconds(self) -> float:
        """Active time of the job, all sessions together."""
        return self.base_seconds + time.monotonic() - self._started

    def count(self, outcome: Outcome, made: bool) -> None:
        """Count one rollout that ended: made now or answered from the ledger."""
        with self._lock:
            self.rollouts_done += 1
            self.rollouts_made += made
            self.unknown += not outcome.is_known

    def see(self, event: Event) -> None:
        """Read what an event of the optimizer says."""
        data = event.data
        if event.type == "mipro.job.started":
            self.num_iterations = data["num_iterations"]
            self.rollouts_planned = data["plan"]["total"]
        elif event.type == "prompt.learning.gepa.start":
            self.phases, self.rollouts_planned = GEPA_PHASES, data["plan"]["total"]
        elif event.type == "mipro.phase":
            self.phase_number = data["phase"]
            self.phase = self.phases[self.phase_number]
            if self.phase_number == 2:
                self._search_started = (time.monotonic(), self.rollouts_made)
        elif event.type == "mipro.iteration.start" or event.type == "gepa.step.complete":
            self.iteration = data["iteration"] + 1
        elif event.type in ("mipro.trial.complete", "prompt.learning.trial.results"):
            self.best_score, self.best_n = data["best_score"], data["best_n"]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        made = self.rollouts_made
        return {
            "phase": self.phase,
            "phase_number": self.phase_number,
            "phases": len(self.phases),
            "iteration": self.iteration,
            "num_iterations": self.num_iterations,
            "rollouts_done": self.rollouts_done,
            "rollouts_planned": self.rollouts_planned,
            "best_score": self.best_score,
            "best_n": self.best_n,
            "unknown": self.unknown,
            "elapsed_seconds": round(self.elapsed_seconds, 1),
            "eta_seconds": self._seconds_left(),
            "recorded_reused": self.rollouts_done - made,
        }

    def _seconds_left(self) -> float | None:
        """Return the time for the rollouts left at the pace of the search; the meta-model's time would mislead."""
        if self._search_started is None:
            return None
        since, before = self._search_started
        made = self.rollouts_made - before
        left = max(0, self.rollouts_planned - self.rollouts_done)
        return round(left * (time.monotonic() - since) / made, 1) if made >= MIN_PACE_ROLLOUTS else None
