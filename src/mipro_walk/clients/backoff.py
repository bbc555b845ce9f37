"""When a failed call is tried again: growing pauses, and patience with an endpoint that has too much to do."""

from __future__ import annotations

import random
from dataclasses import dataclass

from mipro_walk.clients.replies import CallFailed

FIRST_BACKOFF_SECONDS, BACKOFF_FACTOR, LONGEST_BACKOFF_SECONDS = 0.15, 3.0, 20.0
"""A single failed call mostly goes well at once; pauses grow only while the endpoint answers nobody."""
LONGEST_LOAD_BACKOFF_SECONDS = 4.0
LOAD_PATIENCE_SECONDS = 45.0
"""So long a call is tried again while the endpoint answers that it has too much to do, whatever ``max_retries``."""
LOADED_STATUSES = (429, 503, 529)


def is_load(failure: CallFailed) -> bool:
    """Whether the endpoint refused the call for having too much to do."""
    return failure.status in LOADED_STATUSES and failure.retryable


@dataclass(frozen=True, slots=True)
class Backoff:
    """The pauses between the attempts of a call.

    Attributes:
        max_retries: further attempts after a failure; refusals for load do not count for a while. Where no retries
            are wanted, they are not waited out either.
        rng: spreads the pauses.
    """

    max_retries: int
    rng: random.Random

    def pause(
        self, failure: CallFailed, asked: float | None, *, retries: int, in_a_row: int, elapsed: float, left: float
    ) -> float | None:
        """Return for how many seconds to wait before the next attempt; ``None`` to give up now.

        Args:
            failure: of the last attempt.
            asked: seconds that the endpoint asks to wait.
            retries: further attempts of this call so far.
            in_a_row: earlier failures of this call since the endpoint last answered any call. Refusals for load count
                them all: an endpoint that answers others all the same has too much to do.
            elapsed: seconds since the call began.
            left: seconds until its deadline.
        """
        loaded = is_load(failure)
        is_waited_out = loaded and self.max_retries > 0 and elapsed < LOAD_PATIENCE_SECONDS
        if not failure.retryable or (retries >= self.max_retries and not is_waited_out):
            return None
        cap = LONGEST_LOAD_BACKOFF_SECONDS if loaded else LONGEST_BACKOFF_SECONDS
        longest = min(cap, FIRST_BACKOFF_SECONDS * BACKOFF_FACTOR ** min(retries if loaded else in_a_row, 10))
        pause = (asked or 0.0) + self.rng.uniform(0.0, longest)
        return pause if pause < left else None
