"""The only door to a model: chat completions at one OpenAI-compatible endpoint.

Here a call is led from its first attempt to its answer, under one total deadline. What it needs lies beside: the form
of a request (``request_form``), the connection (``transport``), reading answers (``replies``), retries (``backoff``),
adaptive concurrency (``limits``), the record of each attempt (``attempts``). An answer is checked before anybody sees
it; a failure is a :class:`CallFailed`, never text.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx

from mipro_walk.clients.attempts import AttemptRecorder, OnAttempt, Status, Tried, ignore_attempt
from mipro_walk.clients.backoff import Backoff, is_load
from mipro_walk.clients.endpoints import Endpoint
from mipro_walk.clients.gateway_thread import run_sync
from mipro_walk.clients.limits import AdaptiveLimit, Pacing
from mipro_walk.clients.rates import RateLimit, expected_tokens
from mipro_walk.clients.replies import (
    CallFailed,
    FatalCallError,
    Redactor,
    failed_generation,
    read_completion,
    read_failure,
    retry_after_seconds,
)
from mipro_walk.clients.request_form import CallOptions, RequestForm, encode
from mipro_walk.clients.transport import Transport

T = TypeVar("T")

GRACE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of a user of the gateway. ``deadline`` is by the gateway's clock."""

    body: Mapping[str, Any]
    tag: str
    on_attempt: OnAttempt
    deadline: float


class ChatGateway:
    """Asks one endpoint. ``complete`` belongs to one event loop, ``complete_sync`` to every other thread.

    After a failure that every call would meet (:class:`FatalCallError`) all later calls fail with it at once,
    without a request.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        max_concurrent: int = 4,
        call_timeout_seconds: float = 60.0,
        deadline_seconds: float | None = None,
        max_retries: int = 6,
        on_attempt: OnAttempt = ignore_attempt,
        loop: asyncio.AbstractEventLoop | None = None,
        pacing: Pacing | None = None,
        options: CallOptions | None = None,
        rate: RateLimit | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent.

        Args:
            endpoint: where and with which key.
            max_concurrent: most requests under way at once; pressure lowers it for a while.
            call_timeout_seconds: total time of one attempt, from connecting to the last byte.
            deadline_seconds: total time of a call: waiting, attempts and pauses. Default: 180, or the time of one
                attempt if that is longer.
            max_retries: further attempts after a failure that may pass; refusals for load do not count for a while.
            on_attempt: hears of each attempt before the call returns, of several calls at the same time, in threads
                of its own; what it raises the call raises.
            loop: the running loop that all calls are made on; default: the one of the first call.
            pacing: clock, sleep and chance.
            options: fields, headers and prices of this model.
            rate: requests and tokens in a minute; what a queue may have to wait for it is added to the deadline.

        Raises:
            ConfigError: a proxy or certificate variable of the environment cannot be used.
        """
        self.endpoint = endpoint
        self.options = options or CallOptions()
        self._rate = rate
        # A rollout more than half of max_concurrent is open beside them, and each may ask again.
        queue_seconds = 0.0 if rate is None else rate.longest_queue_seconds(2 * max_concurrent + 2)
        self.deadline_seconds = (deadline_seconds or max(180.0, call_timeout_seconds)) + queue_seconds
        self._call_timeout_seconds = call_timeout_seconds
        self._loop = loop
        self._pacing = pacing or Pacing()
        self._backoff = Backoff(max_retries, self._pacing.rng)
        self._limit = AdaptiveLimit(max_concurrent, self._pacing)
        self._redact = Redactor(endpoint.api_key)
        self._answers = 0
        self._fatal: FatalCallError | None = None
        self._form = RequestForm(endpoint, self.options)
        self._recorder = AttemptRecorder(endpoint, self.options, self._redact, on_attempt, max_concurrent)
        self._transport = Transport(endpoint, max_concurrent=max_concurrent, extra_headers=self.options.extra_headers)

    @property
    def fatal_failure(self) -> FatalCallError | None:
        """The failure after which nothing is asked any more, if there was one."""
        return self._fatal

    @property
    def refused_fields(self) -> frozenset[str]:
        """Fields that the endpoint has refused so far, and that are left out or replaced since."""
        return frozenset(self._form.refused)

    @property
    def concurrency(self) -> int:
        """How many requests may be under way now."""
        return self._limit.limit

    async def complete(
        self, body: Mapping[str, Any], tag: str = "", on_attempt: OnAttempt = ignore_attempt
    ) -> dict[str, Any]:
        """Return the completion of a chat request; ``choices[0].message`` is there and all numbers are finite.

        Args:
            body: the request; ``model`` is filled in if it is missing. Not changed.
            tag: goes into the record of each attempt.
            on_attempt: hears of this call's attempts, on the event loop.

        Raises:
            CallFailed: there is no completion within the retries and the deadline.
            FatalCallError: nor will there be one for any other call.
        """
        self._bind_loop()
        call = _Call(body, tag, on_attempt, self._pacing.clock() + self.deadline_seconds)
        try:
            # Attempts end at the deadline themselves; this bounds the waits between them.
            async with asyncio.timeout(self.deadline_seconds + GRACE_SECONDS):
                return await self._complete(call)
        except TimeoutError:
            reason = f"no place at the endpoint within {self.deadline_seconds:g} s"
            raise CallFailed("timeout", None, reason, True) from None

    def as_sent(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the endpoint receives for ``body`` by now: without the fields that it refuses."""
        sent: dict[str, Any] = json.loads(encode(self._form.apply(body)))
        return sent

    def complete_sync(self, body: Mapping[str, Any], tag: str = "") -> dict[str, Any]:
        """Do what :meth:`complete` does, from a thread that does not run the gateway's loop."""
        return self._run_sync(self.complete(body, tag), self.deadline_seconds + 30.0)

    async def close(self) -> None:
        """Close the connections; calls under way fail."""
        await self._transport.close()
        self._recorder.close()

    def close_sync(self) -> None:
        """Close the connections from another thread. A loop that has ended needs no closing."""
        with suppress(CallFailed, RuntimeError):
            self._run_sync(self.close(), 5.0)

    async def _complete(self, call: _Call) -> dict[str, Any]:
        number = retries = in_a_row = 0
        answers = self._answers
        while True:
            self._raise_if_hopeless(call)
            number += 1
            expected = expected_tokens(call.body)
            if self._rate is not None:
                await self._rate.start(expected, is_over=lambda: self._fatal is not None)
            async with self._limit.slot():
                self._raise_if_hopeless(call)
                tried = await self._try(call, number)
            if self._rate is not None and tried.completion is not None and tried.completion.usage is not None:
                self._rate.correct(expected, tried.completion.usage.total_tokens)
            failure = tried.failure
            if failure is None:
                assert tried.completion is not None
                self._answers += 1
                self._limit.succeeded()
                await self._record(call, number, "ok", tried)
                return tried.completion.body
            if self._form.adapts(tried.sent, tried.reply):
                await self._record(call, number, "retry", tried)
                continue
            if self._answers > answers:  # to others in the meantime: the endpoint is not away
                in_a_row, answers = 0, self._answers
            pause = self._pause_after(call, tried, retries, in_a_row)
            await self._record(call, number, "failed" if pause is None else "retry", tried)
            if pause is None:
                raise failure
            retries += 1
            in_a_row += 1
            await self._pacing.sleep(pause)

    def _raise_if_hopeless(self, call: _Call) -> None:
        """Fail without a request where one could not succeed. The error is a new one: its traceback is this call's."""
        if self._fatal is not None:
            raise FatalCallError(self._fatal.kind, self._fatal.status, self._fatal.reason)
        if self._remaining(call) <= 0:
            raise CallFailed("timeout", None, f"no answer within {self.deadline_seconds:g} s", True)
        left = self._limit.pause_left()
        if left > self._remaining(call):
            reason = f"the endpoint asks to wait {left:.0f} s, longer than a call may take"
            raise CallFailed("rate_limit", 429, reason, True)

    def _remaining(self, call: _Call) -> float:
        return call.deadline - self._pacing.clock()

    async def _try(self, call: _Call, number: int) -> Tried:
        """Send the request once. Never raises for what the endpoint does."""
        sent = self._form.apply(call.body)
        started_at, started_clock = datetime.now(UTC).isoformat(timespec="milliseconds"), self._pacing.clock()
        reply = completion = failure = None
        timeout = min(self._call_timeout_seconds, self._remaining(call))
        try:
            async with asyncio.timeout(timeout):
                reply = await self._transport.post(encode(sent))
            completion = read_completion(reply) if reply.status == 200 else failed_generation(reply)
            failure = None if completion else read_failure(reply, self._redact)
        except CallFailed as exc:
            failure = exc
        except (TimeoutError, httpx.TimeoutException):
            failure = CallFailed("timeout", None, f"no complete answer within {timeout:.3g} s", True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            failure = self._transport.failure(exc)
        except asyncio.CancelledError:
            failure = CallFailed("internal", None, "the call was cancelled", True)
            tried = Tried(started_at, started_clock, self._pacing.clock() - started_clock, sent, None, None, failure)
            self._recorder.submit(call.tag, number, "failed", tried)
            raise
        if isinstance(failure, FatalCallError):
            self._fatal = self._fatal or failure
        latency = self._pacing.clock() - started_clock
        return Tried(started_at, started_clock, latency, sent, reply, completion, failure)

    def _pause_after(self, call: _Call, tried: Tried, retries: int, in_a_row: int) -> float | None:
        """Return for how long this call waits before its next attempt, ``None`` to give up; slow others down, too."""
        failure, asked = tried.failure, None
        assert failure is not None
        if is_load(failure):
            self._limit.pressed(tried.started_clock)
        if tried.reply is not None and failure.retryable:
            asked = retry_after_seconds(tried.reply.retry_after)
        if failure.status == 429 and asked:
            self._limit.pause(asked)
        left = self._remaining(call)
        elapsed = self.deadline_seconds - left
        return self._backoff.pause(failure, asked, retries=retries, in_a_row=in_a_row, elapsed=elapsed, left=left)

    async def _record(self, call: _Call, number: int, status: Status, tried: Tried) -> None:
        call.on_attempt(await self._recorder.record(call.tag, number, status, tried))

    def _bind_loop(self) -> None:
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        elif self._loop is not running:
            raise RuntimeError("this gateway belongs to another event loop")

    def _run_sync(self, work: Coroutine[Any, Any, T], timeout: float) -> T:
        if self._loop is None or self._loop.is_closed():
            work.close()
            raise RuntimeError("complete_sync needs the running loop that the gateway was made with")
        return run_sync(work, self._loop, timeout)
