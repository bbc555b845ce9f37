"""Runs over a ledger: scripted calls that are counted and can die, and what holds of a run that was resumed."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing

from mipro_walk.ledger import Ledger, RecordedCompletions, RecordedEvaluator, RecordedStops
from mipro_walk.types import Outcome, Rollout
from tests.fakes.landscape import Landscape


class Killed(BaseException):
    """Stands for a power cut: nothing catches it."""


class Runner:
    """Makes scripted rollouts and completions, counts them, and can die at call ``dies_at``."""

    def __init__(self, dies_at: int | None = None, landscape: Landscape | None = None) -> None:
        self.landscape = landscape or Landscape()
        self.dies_at = dies_at
        self.made: list[object] = []
        self._lock = threading.Lock()

    def _count(self, what: object) -> None:
        with self._lock:
            if self.dies_at is not None and len(self.made) >= self.dies_at:
                raise Killed
            self.made.append(what)

    def rollout(self, rollout: Rollout) -> Outcome:
        self._count(rollout)
        return self.landscape.outcome(rollout)

    def complete(self, messages, temperature) -> str:
        self._count((str(messages), temperature))
        return f"Write number {len(str(messages)) % 97} and think well."


class NoClock:
    """Never asks to stop."""

    def check(self):
        return None


def new_job(ledger: Ledger, algorithm: str = "mipro") -> str:
    return ledger.create_job({}, algorithm=algorithm, launch={}, request_hash="x").job_id


def run_recorded(ledger, job_id, runner, search, max_concurrent=1):
    """Return what ``search`` finds, given an evaluator, completions and stops that record what ``runner`` makes."""
    completions = RecordedCompletions(ledger, job_id, "meta", runner.complete)
    with closing(RecordedEvaluator(ledger, job_id, "context", runner.rollout, max_concurrent)) as evaluator:
        return search(evaluator, completions, RecordedStops(ledger, job_id, NoClock()))


def made_once(whole: Runner, *parts: Runner) -> bool:
    """Whether the parts of a run made as many calls as the ``whole`` one, and none of them twice."""
    made = [call for part in parts for call in part.made]
    return len(made) == len(whole.made) and max(Counter(map(str, made)).values()) == 1
