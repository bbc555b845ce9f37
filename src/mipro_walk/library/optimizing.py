"""``optimize`` and ``optimize_async``: the optimizer over plain callables."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mipro_walk.core import evaluation
from mipro_walk.core.evaluation import Emit, Evaluator, Stops, ignore
from mipro_walk.core.optimizer import optimize as run_optimizer
from mipro_walk.core.proposer import Complete, MetaModelProposer, PatternProposer, Proposer
from mipro_walk.core.result import OptimizationResult
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.errors import ConfigError
from mipro_walk.library.calls import Answerer, CallableEvaluator, Policy, awaited, is_async
from mipro_walk.library.metrics import Score, as_metric, exact_match
from mipro_walk.library.programs import Program
from mipro_walk.library.recording import Recording, context_of
from mipro_walk.progress import Progress
from mipro_walk.types import Candidate, Event, Message, Outcome, Task

MetaModel = Complete | Callable[[list[Message], float], Awaitable[str]]
"""Asks the meta-model: messages and temperature in, text out."""
OnProgress = Callable[[Progress], None]


def optimize(
    task: Task,
    policy: Policy | None = None,
    proposer: Proposer | MetaModel | None = None,
    settings: OptimizerSettings | None = None,
    *,
    program: Program | None = None,
    score: Score = exact_match,
    max_concurrent: int = 1,
    record: str | Path | None = None,
    version: str = "",
    on_progress: OnProgress | None = None,
    on_event: Emit = ignore,
) -> OptimizationResult:
    """Find a better prompt for ``task`` and test it against the baseline on unseen rows.

    Every callable may be ``async``; those are awaited on an event loop of this call's own. Works in a notebook, too.

    Args:
        task: what :func:`make_task` returns.
        policy: asks the model whose prompt is improved: chat messages in, text out. What it raises makes the row
            unknown, which is no score. Set a time limit in it: nobody else knows how long a call may take.
        proposer: writes instructions: a callable ``(messages, temperature) -> text`` that asks a meta-model, or a
            :class:`~mipro_walk.core.proposer.Proposer`; ``None`` takes the built-in patterns.
        settings: budget, trials, demonstrations; see :class:`OptimizerSettings`.
        program: for tasks of several stages, ``(stages, query) -> answer``; see :mod:`mipro_walk.library.programs`.
            What it raises counts as unknown, so return a text that scores 0 if an answer cannot be read.
        score: ``(answer, row) -> number``; see :func:`metric`.
        max_concurrent: so many rows are asked at once; sync callables are called from as many threads.
        record: a file that keeps every call before it is used. The same call is never made again: a run that was
            killed goes on when it is started anew, and one with other settings takes over what it has in common.
        version: of what the callables rest on, such as the model's name: with another one nothing recorded is used.
            Their own source text is seen, what they call is not.
        on_progress: called when a row has been answered and when a phase begins.
        on_event: gets each event of the run. Both are called from threads of the run, one call at a time.

    Raises:
        ConfigError: the settings do not fit the task, or a callable returns what cannot be used.
        IncompleteError: the policy fails again and again; with ``record`` nothing is lost.
    """
    with _loop_of_its_own() as loop:
        callables = _Callables(policy, program, score, proposer)
        run = _Run(loop, task, callables, settings, max_concurrent, record, version, on_progress, on_event)
        try:
            return run()
        finally:
            run.close()


async def optimize_async(
    task: Task,
    policy: Policy | None = None,
    proposer: Proposer | MetaModel | None = None,
    settings: OptimizerSettings | None = None,
    *,
    program: Program | None = None,
    score: Score = exact_match,
    max_concurrent: int = 8,
    record: str | Path | None = None,
    version: str = "",
    on_progress: OnProgress | None = None,
    on_event: Emit = ignore,
) -> OptimizationResult:
    """Do what :func:`optimize` does, with ``async`` callables awaited on the loop that is running.

    So they may use clients and locks of that loop. Cancelling it ends the calls on their way. ``max_concurrent`` is 8
    unless it is given.
    """
    loop = asyncio.get_running_loop()
    callables = _Callables(policy, program, score, proposer)
    run = _Run(loop, task, callables, settings, max_concurrent, record, version, on_progress, on_event)
    thread = asyncio.ensure_future(asyncio.to_thread(run))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        run.cancel()
        with suppress(BaseException):
            await thread
        raise
    finally:
        await asyncio.to_thread(run.close)  # calls that it waits for need this loop


def bind(task: Task, candidate: Candidate, policy: Policy | None = None, program: Program | None = None) -> Any:
    """Return the task's program with the prompts of ``candidate``: a function of the query alone, to be used for real.

    It is ``async`` if the policy or the program is. It asks byte for byte as the optimization did, and raises what
    the callables raise.
    """
    answerer = Answerer(task, policy, program)
    if is_async(policy) or is_async(program):
        return lambda query: answerer.answer(candidate, query, [])
    return lambda query: answerer.answer_here(candidate, query, [])


@dataclass
class _Deadline:
    """The only outside reason to stop: the time is up."""

    at: float

    def check(self) -> str | None:
        return evaluation.TIME if time.monotonic() >= self.at else None


@dataclass
class _Callables:
    """What the user wrote."""

    policy: Policy | None
    program: Program | None
    score: Score
    proposer: Proposer | MetaModel | None


class _Run:
    """One optimization; call it from another thread than the one of ``loop``."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        task: Task,
        callables: _Callables,
        settings: OptimizerSettings | None,
        max_concurrent: int,
        record: str | Path | None,
        version: str,
        on_progress: OnProgress | None,
        on_event: Emit,
    ) -> None:
        self._task = task
        self._settings = settings or OptimizerSettings()
        _refuse_what_has_no_effect(self._settings)
        self._progress = Progress()
        self._on_progress = on_progress or (lambda _progress: None)
        self._on_event = on_event
        policy, program, proposer = callables.policy, callables.program, callables.proposer
        metric = as_metric(callables.score)
        self._answerer = Answerer(task, policy, program, max_concurrent)
        self._calls = CallableEvaluator(self._answerer, metric, loop, max_concurrent, partial(self._count, made=True))
        self._evaluator: Evaluator = self._calls
        self._stops: Stops = _Deadline(time.monotonic() + self._settings.max_time_seconds)
        complete = _completing(proposer, loop) if callable(proposer) else None
        self._recording: Recording | None = None
        if record is not None:
            context = context_of(task, [policy, program, metric.function], version)
            self._recording = Recording(record, context, self._settings)
            self._evaluator = self._recording.evaluator(self._calls.evaluate_one, max_concurrent, self._count)
            self._stops = self._recording.stops(self._stops)
            complete = complete and self._recording.completions(complete, proposer)
        self._proposer: Any = MetaModelProposer(complete) if complete else proposer or PatternProposer()

    def __call__(self) -> OptimizationResult:
        return run_optimizer(
            self._task, self._evaluator, self._proposer, self._settings, stops=self._stops, emit=self._see
        )

    def cancel(self) -> None:
        self._calls.cancel()

    def close(self) -> None:
        if self._recording is not None:
            self._recording.close()
        self._answerer.close()

    def _count(self, outcome: Outcome, made: bool) -> None:
        self._progress.count(outcome, made)
        self._on_progress(self._progress)

    def _see(self, event: Event) -> None:
        self._progress.see(event)
        if event.type == "mipro.phase":
            self._on_progress(self._progress)
        self._on_event(event)


@contextmanager
def _loop_of_its_own() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="mipro-walk-loop", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_end_tasks(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end_tasks() -> None:
    """Cancel what is left, and let generators and clients of the loop end in order."""
    loop = asyncio.get_running_loop()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()


def _refuse_what_has_no_effect(settings: OptimizerSettings) -> None:
    if not isinstance(settings, OptimizerSettings):
        raise ConfigError(
            f"The settings are {type(settings).__name__}.", "Pass OptimizerSettings; GEPA runs as a job (algorithm)."
        )
    if settings.max_cost_usd is not None:
        raise ConfigError(
            "max_cost_usd has no effect here: nobody tells what a call of a plain function costs.",
            "Use budget, which counts rollouts, or max_time_seconds.",
        )


def _completing(meta_model: MetaModel, loop: asyncio.AbstractEventLoop) -> Complete:
    def complete(messages: list[Message], temperature: float) -> str:
        found = meta_model(messages, temperature)
        if inspect.isawaitable(found):
            found = asyncio.run_coroutine_threadsafe(awaited(found), loop).result()
        return str(found)

    return complete
