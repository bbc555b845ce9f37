"""Group commit: what several threads want to write at the same moment becomes durable in one transaction.

A commit waits for the disk, mostly longer than it works; one commit for all that wait costs the same. Each thread
still goes on only when its own write is durable.

Source: group commit, DeWitt et al. 1984, "Implementation techniques for main memory database systems". Differs: no
log buffer and no timer; whoever comes first commits for those who came while the commit before was under way.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine

Work = Callable[[Connection], Any]
"""Statements of one write. Run again from the start if a transaction had to be rolled back."""


@dataclass
class _Write:
    """One waiting write; once ``is_done``, exactly one of ``value`` and ``error`` counts."""

    work: Work
    is_done: bool = False
    value: Any = None
    error: Exception | None = None


class Commits:
    """The one writer of an engine. Safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.RLock()
        self._waiting: deque[_Write] = deque()

    def write(self, work: Work) -> Any:
        """Run ``work`` in a transaction, which others may share, and return its value once that is durable.

        Raises:
            Exception: what ``work`` or the commit raised; nothing of this write is then stored.
        """
        write = _Write(work)
        self._waiting.append(write)
        with self._turn:
            if not write.is_done:
                self._commit([write, *self._others(write)])
        if write.error is not None:
            raise write.error
        return write.value

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """Hold a transaction that no other write shares."""
        with self._turn, self._engine.begin() as connection:
            yield connection

    def _others(self, write: _Write) -> list[_Write]:
        """Take all that wait now but ``write``."""
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        return [other for other in taken if other is not write]

    def _commit(self, writes: Sequence[_Write]) -> None:
        try:
            with self._engine.begin() as connection:
                values = [write.work(connection) for write in writes]
        except Exception as exc:
            self._fail(writes, exc)
        else:
            for write, value in zip(writes, values, strict=True):
                write.value, write.is_done = value, True

    def _fail(self, writes: Sequence[_Write], exc: Exception) -> None:
        """Nothing was stored: find out write by write which one cannot be."""
        if len(writes) == 1:
            writes[0].error, writes[0].is_done = exc, True
            return
        for write in writes:
            self._commit([write])
