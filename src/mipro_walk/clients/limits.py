"""How many calls may be under way at one endpoint, and when none may start."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

SUCCESSES_TO_GROW = 10
STAGGER_SECONDS = 1.0
"""After a pause workers start spread over this time, so that the endpoint is not hit by all of them at once."""


def _unseeded() -> random.Random:
    return random.Random()  # noqa: S311 - spreads retries, protects nothing


@dataclass(frozen=True)
class Pacing:
    """Time and chance, so that tests can hold them still. Times in seconds."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    rng: random.Random = field(default_factory=_unseeded)


class AdaptiveLimit:
    """A limit on concurrent calls that halves under pressure and grows by one after ten successes (AIMD).

    Calls that were under way when the limit last shrank do not shrink it again: one burst of refusals is one
    signal. Refusals without a success between them are one outage: what it took beyond the first halving comes back
    with one place for each success. Lives in one event loop.

    Source: slow start and congestion avoidance, RFC 5681. Differs: counts calls, not bytes.
    """

    def __init__(self, max_concurrent: int, pacing: Pacing) -> None:
        self._max = max(1, max_concurrent)
        self._limit = self._max
        self._quick_until = 0
        self._in_outage = False
        self._active = 0
        self._successes = 0
        self._shrunk_at = float("-inf")
        self._paused_until = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pacing = pacing

    @property
    def limit(self) -> int:
        """Calls that may be under way now."""
        return self._limit

    def pause_left(self) -> float:
        """Return for how many seconds no call may start."""
        return max(0.0, self._paused_until - self._pacing.clock())

    def pause(self, seconds: float) -> None:
        """Let no call start for ``seconds``; a longer pause that is already set stays."""
        self._paused_until = max(self._paused_until, self._pacing.clock() + seconds)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the places, in the order of arrival, once no pause is set."""
        await self._acquire()
        try:
            # Asked again inside: a pause may have been set while this call waited for its place.
            while (left := self.pause_left()) > 0:
                await self._pacing.sleep(left + self._pacing.rng.uniform(0.0, STAGGER_SECONDS))
            yield
        finally:
            self._active -= 1
            self._admit()

    def succeeded(self) -> None:
        """Count one success."""
        self._successes += 1
        self._in_outage = False
        if self._successes >= SUCCESSES_TO_GROW or self._limit < self._quick_until:
            self._successes = 0
            self._limit = min(self._max, self._limit + 1)
            self._admit()

    def pressed(self, started_at: float) -> None:
        """Halve the limit because a call that started at ``started_at`` (clock) was refused for load."""
        self._successes = 0
        if started_at > self._shrunk_at:
            if not self._in_outage:
                self._quick_until, self._in_outage = self._limit // 2, True
            self._limit = max(1, self._limit // 2)
            self._shrunk_at = self._pacing.clock()

    async def _acquire(self) -> None:
        if self._active < self._limit and not self._waiting:
            self._active += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._active -= 1  # the place came together with the cancellation: give it on
                self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting and self._active < self._limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._active += 1
                turn.set_result(None)
