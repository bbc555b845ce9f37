"""What an endpoint sees in a minute never exceeds what it was said to bear. Time is a number that sleeping moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from mipro_walk.clients.limits import Pacing
from mipro_walk.clients.rates import Bucket, RateLimit, expected_tokens
from tests.fakes.clock import Clock


def run(work: Coroutine[Any, Any, Any]) -> None:
    asyncio.run(work)


def most_in_a_minute(events: list[tuple[float, float]]) -> float:
    """Return the largest sum of amounts in any half-open minute."""
    return max(sum(n for at, n in events if start - 1e-9 <= at < start + 60.0 - 1e-6) for start, _ in events)


@pytest.mark.parametrize("limit", [1, 3, 10, 59, 60, 600])
def test_no_minute_sees_more_requests_than_the_limit_and_nine_tenths_at_least(limit: int) -> None:
    clock = Clock()

    async def work() -> None:
        rate = RateLimit(limit, None, clock.pacing())
        for _ in range(3 * limit):
            await rate.start(1)
            events.append((clock.now, 1.0))

    events: list[tuple[float, float]] = []
    run(work())
    assert most_in_a_minute(events) <= limit
    assert events[-1][0] <= 200.0


def test_no_minute_sees_more_tokens_than_the_limit() -> None:
    clock = Clock()
    events: list[tuple[float, float]] = []
    rng = random.Random(7)

    async def work() -> None:
        rate = RateLimit(None, 6000, clock.pacing())
        for _ in range(200):
            tokens = rng.randint(1, 600)
            await rate.start(tokens)
            events.append((clock.now, tokens))

    run(work())
    assert most_in_a_minute(events) <= 6000 + 1


def test_a_call_larger_than_the_bucket_goes_alone_and_the_others_pay_for_it() -> None:
    clock = Clock()

    async def work() -> None:
        rate = RateLimit(None, 600, clock.pacing())
        await rate.start(600)
        first = clock.now
        await rate.start(1)
        assert first == 0.0
        assert 50.0 < clock.now <= 61.0

    run(work())


def test_what_was_expected_is_corrected_by_what_was_used() -> None:
    clock = Clock()

    async def work() -> None:
        rate = RateLimit(None, 1000, clock.pacing())
        await rate.start(100)
        rate.correct(100, 10)
        await rate.start(80)
        assert clock.now == 0.0
        rate.correct(80, 1080)
        await rate.start(1)
        assert clock.now > 60.0

    run(work())


def test_calls_start_in_the_order_of_arrival() -> None:
    clock, order = Clock(), []

    async def one(rate: RateLimit, index: int) -> None:
        await rate.start(1)
        order.append(index)

    async def work() -> None:
        rate = RateLimit(5, None, clock.pacing())
        await asyncio.gather(*(one(rate, index) for index in range(8)))

    run(work())
    assert order == list(range(8))


def test_a_bucket_never_holds_more_than_its_size() -> None:
    clock = Clock()
    bucket = Bucket(100, clock.pacing())
    clock.now = 1e6
    bucket.take(10)
    assert bucket.seconds_until(1) > 0


def test_a_long_queue_is_given_the_time_it_needs() -> None:
    assert RateLimit(2, None, Pacing()).longest_queue_seconds(10) == 300.0
    assert RateLimit(None, None, Pacing()).longest_queue_seconds(10) == 0.0


def test_the_longest_answer_counts_as_expected() -> None:
    body = {"messages": [{"role": "user", "content": "x" * 400}], "max_completion_tokens": 50}
    assert 150 <= expected_tokens(body) <= 175
