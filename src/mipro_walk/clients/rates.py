"""How many requests and tokens an endpoint may get in a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from mipro_walk.clients.limits import Pacing

MINUTE = 60.0
BURST_SHARE = 10
"""A tenth of a minute's allowance may go at once; the rest follows evenly."""
ROUNDING = 1e-6
"""Less than this is missing only because sums of floats are not exact; a pause for it might not move the clock."""
CHARS_PER_TOKEN = 4.0
TOKENS_PER_CALL = 2000
"""A guess, for how long a queue of calls may have to wait."""


class Bucket:
    """A token bucket that keeps to its limit in every minute, the first one included.

    It holds a tenth of the limit and is filled evenly, so that no minute sees more than ``limit`` in all. What is
    larger than the whole bucket is let through once it is full and leaves a debt.
    """

    def __init__(self, limit: int, pacing: Pacing) -> None:
        self._size = float(max(1, limit // BURST_SHARE))
        self._rate = (limit - self._size + 1) / MINUTE
        self._level = self._size
        self._pacing = pacing
        self._updated = pacing.clock()

    def seconds_until(self, amount: float) -> float:
        """Return how long to wait for ``amount``; 0 if it may be taken now."""
        self._fill()
        missing = min(amount, self._size) - self._level
        return missing / self._rate if missing > ROUNDING else 0.0

    def take(self, amount: float) -> None:
        """Take ``amount``; a negative one gives back."""
        self._fill()
        self._level = min(self._size, self._level - amount)

    def _fill(self) -> None:
        now = self._pacing.clock()
        self._level = min(self._size, self._level + (now - self._updated) * self._rate)
        self._updated = now


class RateLimit:
    """Lets calls start in the order of arrival, each when its request and its tokens fit in. Lives in one event loop.

    Several gateways may share one, where they ask the same model at the same address.
    """

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None, pacing: Pacing) -> None:
        self._per_minute = (requests_per_minute, tokens_per_minute)
        self._requests = Bucket(requests_per_minute, pacing) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute, pacing) if tokens_per_minute else None
        self._turn = asyncio.Lock()
        self._pacing = pacing

    def longest_queue_seconds(self, calls: int) -> float:
        """Return how long the last of ``calls`` that come at once may have to wait."""
        requests, tokens = self._per_minute
        by_requests = calls / requests if requests else 0.0
        by_tokens = calls * TOKENS_PER_CALL / tokens if tokens else 0.0
        return MINUTE * max(by_requests, by_tokens)

    async def start(self, tokens: int, is_over: Callable[[], bool] = lambda: False) -> None:
        """Wait until a call of about ``tokens`` tokens may start, and count it. Once it ``is_over`` nothing waits."""
        if self._requests is None and self._tokens is None:
            return
        async with self._turn:
            while (pause := self._pause(tokens)) > 0 and not is_over():
                await self._pacing.sleep(pause)
            if self._requests is not None:
                self._requests.take(1)
            if self._tokens is not None:
                self._tokens.take(tokens)

    def correct(self, expected: int, used: int) -> None:
        """Count what a call has used in place of what was expected."""
        if self._tokens is not None:
            self._tokens.take(used - expected)

    def _pause(self, tokens: int) -> float:
        wanted = ((self._requests, 1), (self._tokens, tokens))
        return max(bucket.seconds_until(amount) for bucket, amount in wanted if bucket is not None)


def expected_tokens(body: Mapping[str, Any]) -> int:
    """Return about how many tokens a chat request uses at most: its text, and the longest answer it allows."""
    prompt = sum(len(str(body.get(name, ""))) for name in ("messages", "tools", "response_format"))
    answer = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    return round(prompt / CHARS_PER_TOKEN) + (answer if isinstance(answer, int) else 0)
