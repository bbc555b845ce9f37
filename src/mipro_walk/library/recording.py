"""Runs that survive: every call is recorded in a file before it is used, and never made again.

A run that was killed goes on when it is started again with the same arguments; one with other settings takes over what
it has in common with those before it. What a call depends on is told by the source text of the callables and by
``version``; what they call themselves, and the model behind them, is not seen.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from mipro_walk.core.evaluation import Stops
from mipro_walk.core.proposer import Complete
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.ledger import Ledger, RecordedCompletions, RecordedEvaluator, RecordedStops
from mipro_walk.ledger.replay import OnOutcome, RolloutRunner
from mipro_walk.types import Task, fingerprint

ALGORITHM = "library"
CALLS = "calls"
"""Key of the job that holds the calls of all runs in a file; each run has one of its own for its decisions."""


class Recording:
    """The file of one or more runs.

    Args:
        path: made if it is not there, with its folder, for nobody else to read.
        context: what an outcome depends on beside prompt and row (:func:`context_of`).
        settings: what the run's decisions depend on as well.

    Raises:
        PrerequisiteError: the file cannot be written or is no recording.
    """

    def __init__(self, path: str | Path, context: str, settings: OptimizerSettings) -> None:
        self._ledger = Ledger(f"sqlite:///{Path(path).absolute()}")
        self._context = context
        self._calls = self._job(CALLS)
        self._run = self._job(fingerprint([context, asdict(settings)]))
        self._evaluator: RecordedEvaluator | None = None

    def evaluator(self, run: RolloutRunner, max_concurrent: int, on_outcome: OnOutcome) -> RecordedEvaluator:
        """Return an evaluator that makes with ``run`` only what is not recorded."""
        self._evaluator = RecordedEvaluator(self._ledger, self._calls, self._context, run, max_concurrent, on_outcome)
        return self._evaluator

    def completions(self, complete: Complete, written: object) -> RecordedCompletions:
        """Return a meta-model that is asked only what is not recorded; ``written`` is the callable that asks it."""
        return RecordedCompletions(
            self._ledger, self._calls, fingerprint([self._context, source_of(written)]), complete
        )

    def stops(self, stops: Stops) -> RecordedStops:
        """Return decisions that are made once."""
        return RecordedStops(self._ledger, self._run, stops)

    def close(self) -> None:
        """Let the calls on their way end and be recorded, then close the file."""
        if self._evaluator is not None:
            self._evaluator.close()
        self._ledger.close()

    def _job(self, key: str) -> str:
        job = self._ledger.create_job({}, algorithm=ALGORITHM, launch={}, request_hash=key, idempotency_key=key)
        return job.job_id


def context_of(task: Task, callables: Sequence[object], version: str) -> str:
    """Return the hash of what an outcome depends on: the rows, the source of the callables, and ``version``."""
    stages = [[stage.name, stage.instruction] for stage in task.stages]
    return fingerprint([task.dataset_hash, task.instruction, stages, [source_of(each) for each in callables], version])


def source_of(function: object) -> str:
    """Return the text that a callable was written as; its name where that cannot be had."""
    if isinstance(function, partial):
        return f"{source_of(function.func)}{function.args!r}{function.keywords!r}"
    written: Any = function if inspect.isroutine(function) else type(function)
    try:
        return inspect.getsource(written)
    except (OSError, TypeError):
        return getattr(written, "__qualname__", repr(written))
