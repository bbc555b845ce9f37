"""Following a job: poll the backend, show what happens, and leave in good order.

The backend runs the job; nothing here decides anything about it. What is shown goes to standard error; with
``--events ndjson`` every event goes to standard output, one JSON object a line.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from mipro_walk.cli.heartbeat import Heartbeat
from mipro_walk.cli.line_displays import Display
from mipro_walk.cli.live_displays import make_display
from mipro_walk.errors import MiproWalkError, UnreachableError

if TYPE_CHECKING:
    from mipro_walk.walkthrough.submit_job import JobClient

EVENTS_SECONDS = 0.3
STATUS_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 10.0
PAGE = 200
ENDED = ("succeeded", "completed", "failed", "cancelled", "canceled", "paused")
CLOSING_EVENTS = ("mipro.job.completed", "mipro.job.failed", "mipro.job.paused", "mipro.job.cancelled")

OnInterrupt = Literal["pause", "detach"]
"""What the first Ctrl-C does: pause a job of our own backend, or only stop watching somebody else's."""


class StoppedByUserError(MiproWalkError):
    """Ctrl-C: the watching ended; the job is kept."""

    exit_code = 130
    code = "interrupted"


@dataclass(frozen=True, slots=True)
class Clock:
    """Time as this module uses it, in seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def follow(
    client: JobClient,
    job_id: str,
    *,
    console: Console,
    display: str = "rich",
    on_interrupt: OnInterrupt = "pause",
    on_event: Callable[[Mapping[str, Any]], None] | None = None,
    known_until: int = 0,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Show a job until it ends or pauses; return its last status. A static summary always stays on the screen.

    Args:
        console: where to show (standard error).
        display: rich, plain, log or none.
        on_event: hears every event once, in order.
        known_until: events up to this number were shown in an earlier session; they are not shown again.

    Raises:
        StoppedByUserError: Ctrl-C; says how to go on (exit 130).
        UnreachableError: the backend did not answer for 30 s.
    """
    follower = _Follower(
        client, job_id, make_display(display, console, job_id), on_event, known_until, clock or Clock()
    )
    with _interrupts() as interrupts, follower.display:
        with Heartbeat(lambda seconds: follower.display.say(_silence(seconds))) as heartbeat:
            status = follower.run(interrupts, on_interrupt, heartbeat)
        follower.display.finish(status)
    if interrupts.count and status["status"] == "paused":
        raise StoppedByUserError(f"Paused job {job_id}; everything paid for is kept.", _how_to_resume(job_id))
    return status


@dataclass
class _Interrupts:
    """Counts Ctrl-C. The second one does not wait for anything."""

    count: int = 0
    is_heard: bool = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            raise StoppedByUserError("Left at once; what was recorded is kept.", "Go on with: mipro-walk resume")


@contextmanager
def _interrupts() -> Iterator[_Interrupts]:
    """Count SIGINT instead of being torn out of a request by it, as far as this thread may."""
    counter = _Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield counter
        return
    before = signal.signal(signal.SIGINT, counter)
    try:
        yield counter
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass
class _Follower:
    """One job being watched."""

    client: JobClient
    job_id: str
    display: Display
    on_event: Callable[[Mapping[str, Any]], None] | None
    known_until: int
    clock: Clock
    status: dict[str, Any] = field(default_factory=dict)
    _seen: int = 0
    _silent_since: float | None = None
    _next_status: float = 0.0

    def run(self, interrupts: _Interrupts, on_interrupt: OnInterrupt, heartbeat: Heartbeat) -> dict[str, Any]:
        """Poll until the job ends, pauses, or the user has had enough. ``heartbeat`` speaks up while a poll hangs."""
        give_up: float | None = None
        while True:
            heartbeat.alive()
            if interrupts.count and not interrupts.is_heard:
                interrupts.is_heard = True
                give_up = self._leave(on_interrupt)
            if self._poll():
                return self.status
            if give_up is not None and self.clock.now() >= give_up:
                raise StoppedByUserError(
                    f"Job {self.job_id} did not pause within {PAUSE_SECONDS:.0f} s; what was recorded is kept.",
                    _how_to_resume(self.job_id),
                )
            self.display.tick(self.clock.now())
            self.clock.sleep(EVENTS_SECONDS)

    def _leave(self, on_interrupt: OnInterrupt) -> float:
        if on_interrupt == "detach":
            raise StoppedByUserError(
                f"Stopped watching; job {self.job_id} goes on at its backend.",
                f"Watch it again with: mipro-walk resume {self.job_id}",
            )
        self.display.say("Pausing after the calls in flight; press Ctrl-C again to leave at once.")
        self.client.pause(self.job_id)
        self._next_status = 0.0
        return self.clock.now() + PAUSE_SECONDS

    def _poll(self) -> bool:
        """Fetch what is new; return whether the job has ended and all was shown."""
        now = self.clock.now()
        try:
            self._fetch_events()
            if now >= self._next_status:
                self._next_status = now + STATUS_SECONDS
                self.status = _with_known_progress(self.client.status(self.job_id), self.status)
                self.display.status(self.status)
                if self.status["status"] in ENDED:
                    self._fetch_events()  # what came between the two questions
                    return True
        except UnreachableError as exc:
            self._endure(now, exc)
        else:
            self._silent_since = None
        return False

    def _fetch_events(self) -> None:
        is_more = True
        while is_more:
            page = self.client.events(self.job_id, self._seen, PAGE)
            is_more = len(page) >= PAGE
            for event in page:
                self._seen = max(self._seen, int(event["seq"]))
                self._show(event)

    def _show(self, event: Mapping[str, Any]) -> None:
        if self.on_event is not None:
            self.on_event(event)
        if self._seen <= self.known_until:
            self.display.remember(event)
            return
        self.display.event(event, self.clock.now())
        if event.get("type") in CLOSING_EVENTS:
            self._next_status = 0.0

    def _endure(self, now: float, error: UnreachableError) -> None:
        if self._silent_since is None:
            self._silent_since = now
            self.display.say("The backend does not answer; trying again.")
        elif now - self._silent_since >= PATIENCE_SECONDS:
            raise UnreachableError(
                f"{error.message} It was silent for {now - self._silent_since:.0f} s.",
                f"The job is kept. {_how_to_resume(self.job_id)}",
            ) from error


def last_event(client: JobClient, job_id: str) -> int:
    """Return the number of the last event there is now; 0 if there is none."""
    last, is_more = 0, True
    while is_more:
        page = client.events(job_id, last, PAGE)
        last = max([last, *(int(event["seq"]) for event in page)])
        is_more = len(page) >= PAGE
    return last


def write_ndjson(event: Mapping[str, Any]) -> None:
    """Write one event to standard output. JSON in ASCII: no character of it can act on a terminal."""
    import json

    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _with_known_progress(status: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the last figures seen where a job that stopped no longer reports any."""
    progress = status.get("progress") or {}
    if progress.get("rollouts_planned") or not before:
        return status
    return {**status, "progress": {**(before.get("progress") or {}), **progress, "eta_seconds": None}}


def _silence(seconds: float) -> str:
    return f"... waiting for the backend's answer, {seconds:.0f} s"


def _how_to_resume(job_id: str) -> str:
    return f"Go on with: mipro-walk resume {job_id}"
