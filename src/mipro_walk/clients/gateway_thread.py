"""An event loop of its own, and how other threads wait for what runs on one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from mipro_walk.clients.replies import CallFailed

T = TypeVar("T")


class GatewayThread:
    """An event loop in a thread of its own, for gateways in a program that has none.

    >>> with GatewayThread() as thread:
    ...     thread.loop.is_running()
    True
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="model-gateway", daemon=True)

    def __enter__(self) -> GatewayThread:
        started = threading.Event()
        self.loop.call_soon(started.set)
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()


def run_sync(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, timeout: float) -> T:
    """Run ``work`` on ``loop`` and wait for it in this thread.

    Raises:
        CallFailed: it did not end within ``timeout`` seconds (the loop hangs or has stopped).
        RuntimeError: this thread runs that loop, so it would wait for itself.
    """
    if _is_running_here(loop):
        work.close()
        raise RuntimeError("run_sync was called on the loop that it would wait for")
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result(timeout)
    except TimeoutError:
        future.cancel()
        raise CallFailed("internal", None, f"the event loop did not answer within {timeout:g} s", True) from None


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
