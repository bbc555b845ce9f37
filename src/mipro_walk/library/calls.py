"""Asking plain callables, sync or async, several at once.

One event loop makes all calls. What is sync runs in threads, so that neither kind waits for the other.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from mipro_walk.errors import ConfigError, IncompleteError
from mipro_walk.library.metrics import Metric, UnmeasuredError
from mipro_walk.library.programs import SINGLE, Program, Prompt, Stages, stages_of
from mipro_walk.types import Candidate, Example, Message, Outcome, Rollout, Split, StageCall, Task

Policy = Callable[[list[Message]], str] | Callable[[list[Message]], Awaitable[str]]
"""Asks the policy model: chat messages in, its answer out."""
T = TypeVar("T")

MAX_UNKNOWN_IN_A_ROW = 8
MAX_REASON_CHARS = 300


class NoAnswerError(Exception):
    """A call gave ``None`` where it should have given a text."""


@dataclass
class Answerer:
    """Answers queries with a candidate: a program over its stages, or its only prompt.

    Attributes:
        policy: ``None`` if the program asks a model in its own way.
        program: ``None`` asks the only prompt of the task.
        threads: how many sync calls run at once.
    """

    task: Task
    policy: Policy | None
    program: Program | None = None
    threads: int = 1
    _pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        if self.program is None and self.task.stages:
            names = ", ".join(stage.name for stage in self.task.stages)
            raise ConfigError(f"The task has several stages ({names}) but no program.", "Pass program=….")
        if self.program is None and self.policy is None:
            raise ConfigError("There is nobody to ask.", "Pass policy=…, a function that asks your model.")
        self._pool = ThreadPoolExecutor(max(1, self.threads), thread_name_prefix="mipro-walk-call")

    def close(self) -> None:
        """Start no more calls; those that run end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def is_async(self) -> bool:
        """Whether the program, or without one the policy, is to be awaited."""
        return is_async(self.program or self.policy)

    async def answer(self, candidate: Candidate, query: str, trace: list[StageCall]) -> str:
        """Return the answer; calls of stages are noted in ``trace``. Raises what the callables raise.

        Raises:
            NoAnswerError: there is none.
            ConfigError: what a callable returns cannot be used at all.
        """
        if not self.is_async:
            loop = asyncio.get_running_loop()
            return str(await self._in_thread(self.answer_here, candidate, query, trace, loop))
        stages = stages_of(self.task, candidate, self._ask, trace)
        program: Any = self.program or _only_stage
        return _text(await program(stages, query), "program")

    def answer_here(
        self,
        candidate: Candidate,
        query: str,
        trace: list[StageCall],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> str:
        """Do the same with a sync program, in this thread. ``loop`` runs in another one and awaits an async policy."""

        def ask(prompt: Prompt[str], text: str) -> str:
            found = self._checked_policy(prompt.messages(text))
            if inspect.isawaitable(found) and loop is not None:
                found = asyncio.run_coroutine_threadsafe(awaited(found), loop).result()
            return _noted(prompt, text, found)

        program: Any = self.program or _only_stage
        return _text(program(stages_of(self.task, candidate, ask, trace), query), "program")

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function: ``async`` ones here, others in a thread."""
        if is_async(function):
            return await function(*arguments)
        found = await self._in_thread(function, *arguments)
        return await found if inspect.isawaitable(found) else found

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        found, failure = await asyncio.get_running_loop().run_in_executor(self._pool, _caught, function, arguments)
        if failure is not None:
            raise failure
        return found

    @property
    def _checked_policy(self) -> Policy:
        if self.policy is None:
            raise ConfigError("A stage was called, but there is no policy to ask.", "Pass policy=….")
        return self.policy

    async def _ask(self, prompt: Prompt[Any], query: str) -> str:
        return _noted(prompt, query, await self.call(self._checked_policy, prompt.messages(query)))


class CallableEvaluator:
    """An evaluator over plain callables. ``evaluate`` is for another thread than the one of ``loop``."""

    def __init__(
        self,
        answerer: Answerer,
        metric: Metric,
        loop: asyncio.AbstractEventLoop,
        max_concurrent: int,
        on_outcome: Callable[[Outcome], None],
    ) -> None:
        task = answerer.task
        splits: tuple[Split, ...] = ("train", "val", "test", "pinned")
        self._rows = {split: {row.seed: row for row in task.rows(split)} for split in splits}
        self._answerer = answerer
        self._metric = metric
        self._loop = loop
        self._gate = asyncio.Semaphore(max(1, max_concurrent))
        self._on_outcome = on_outcome
        self._running: set[Future[Any]] = set()
        self._is_cancelled = False

    def evaluate(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """Ask and score every rollout; a call that fails is an unknown outcome.

        Raises:
            IncompleteError: so many calls failed in a row that it is an outage.
            ConfigError: a callable returns what cannot be used.
        """
        found: list[Outcome] = self._wait_for(self._evaluate(rollouts))
        return found

    def evaluate_one(self, rollout: Rollout) -> Outcome:
        """Ask and score one rollout, for a caller who minds outages itself. Several threads may call it."""
        found: Outcome = self._wait_for(self._run(rollout))
        return found

    def cancel(self) -> None:
        """End the calls that wait, and those that run if they are ``async``; no others are made."""
        self._is_cancelled = True
        for running in list(self._running):
            running.cancel()

    def _wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._running.add(running)
        try:
            if self._is_cancelled:
                running.cancel()
            return running.result()
        except BaseException:
            running.cancel()
            raise
        finally:
            self._running.discard(running)

    async def _evaluate(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        tasks = [asyncio.ensure_future(self._behind_the_gate(rollout)) for rollout in rollouts]
        outcomes: list[Outcome] = []
        in_a_row = 0
        try:
            for running in tasks:
                outcomes.append(await running)
                self._on_outcome(outcomes[-1])
                in_a_row = 0 if outcomes[-1].is_known else in_a_row + 1
                if in_a_row >= MAX_UNKNOWN_IN_A_ROW:
                    raise IncompleteError(
                        f"The calls of {in_a_row} rows in a row failed; the last said: {outcomes[-1].reason}",
                        "Repair the cause and start again.",
                    )
        finally:
            for running in tasks:
                running.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return outcomes

    async def _behind_the_gate(self, rollout: Rollout) -> Outcome:
        async with self._gate:
            return await self._run(rollout)

    async def _run(self, rollout: Rollout) -> Outcome:
        row, trace = self._rows[rollout.split][rollout.seed], list[StageCall]()
        try:
            answer = await self._answerer.answer(rollout.candidate, row.query, trace)
            outcome = await self._scored(answer, row, rollout.split)
        except ConfigError:
            raise
        except Exception as exc:  # whatever a user's callable raises measured nothing
            return Outcome(None, None, _reason(exc))
        calls = tuple(trace) if self._answerer.task.stages else ()
        return replace(outcome, trace=calls)

    async def _scored(self, answer: str, row: Example, split: Split) -> Outcome:
        metric = self._metric

        def refused(said: str) -> ConfigError:
            return ConfigError(
                f"The metric {metric.name!r} {said}, for row {row.seed} of {split} with the answer {answer!r:.80}.",
                f"Return a number from {metric.low:g} to {metric.high:g}, or raise UnmeasuredError.",
            )

        try:
            returned = await self._answerer.call(metric.function, answer, row)
        except UnmeasuredError as exc:
            raise UnmeasuredError(f"the metric {metric.name!r} said: {exc}") from exc
        except Exception as exc:  # a score function that fails is a mistake of its writer, not of the prompt
            raise refused(f"raised {_reason(exc)}") from exc
        try:
            return metric.outcome(returned, answer)
        except ValueError as exc:
            raise refused(str(exc)) from exc


def is_async(function: object) -> bool:
    """Whether calling a function gives something to await: an ``async def``, or an object whose ``__call__`` is one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _caught(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    """Return what a function returns, and what it raises: asyncio would lose where a ``TimeoutError`` comes from."""
    try:
        return function(*arguments), None
    except Exception as exc:
        return None, exc


async def awaited(found: Awaitable[T]) -> T:
    """Await anything as a coroutine."""
    return await found


def _only_stage(stages: Stages[Any], query: str) -> Any:
    """Ask the prompt of a task that has one; what comes is to be awaited if asking is."""
    return stages[SINGLE](query)


def _noted(prompt: Prompt[Any], query: str, found: object) -> str:
    answer = _text(found, "policy")
    prompt.note(query, answer)
    return answer


def _text(found: object, who: str) -> str:
    if found is None:
        raise NoAnswerError(f"the {who} returned None")
    if not isinstance(found, str):
        raise ConfigError(
            f"The {who} returned {found!r:.80} ({type(found).__name__}).",
            f"Return the answer's text; a {who} that has to be awaited is an async def.",
        )
    return found


def _reason(exc: BaseException) -> str:
    """Return an exception in words, with the last line outside this package that led to it."""
    if isinstance(exc, NoAnswerError | UnmeasuredError):
        return str(exc)[:MAX_REASON_CHARS]
    here = Path(__file__).parent
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if Path(frame.filename).parent != here]
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(exc).__name__}: {exc}"[: MAX_REASON_CHARS - len(place)] + place
