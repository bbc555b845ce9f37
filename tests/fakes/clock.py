"""Time that stands still until somebody sleeps."""

from __future__ import annotations

import asyncio
import random

from mipro_walk.clients.limits import Pacing


class Clock:
    """A clock that moves when somebody sleeps by it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def pacing(self) -> Pacing:
        return Pacing(self.sleep, self, random.Random(1))
