"""Nothing is silent for more than five seconds: a thread that says so while something slow is under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

HEARTBEAT_SECONDS = 5.0


class Heartbeat:
    """Calls ``say`` with the seconds since the start, or since the last :meth:`alive`, every five of them.

    Used as a context manager; ``say`` is called from a thread of its own, and never again once it is left.
    """

    def __init__(self, say: Callable[[float], None], every_seconds: float = HEARTBEAT_SECONDS) -> None:
        self._say = say
        self._every = every_seconds
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._since = self._last = time.monotonic()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        with self._lock:  # a line that is being written is finished
            pass

    def alive(self) -> None:
        """Something was heard: the silence begins anew."""
        self._since = self._last = time.monotonic()

    def _beat(self) -> None:
        while not self._ended.wait(max(0.01, self._last + self._every - time.monotonic())):
            with self._lock:
                now = time.monotonic()
                if now - self._last >= self._every and not self._ended.is_set():
                    self._last = now
                    self._say(now - self._since)
