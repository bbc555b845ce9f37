"""A running job line by line: for people whose terminal cannot move, for programs, for nobody."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from rich.console import Console
from rich.text import Text

from mipro_walk.cli.heartbeat import HEARTBEAT_SECONDS
from mipro_walk.cli.progress_words import heartbeat, summary
from mipro_walk.cli.visible import one_line

LINE_SECONDS = 1.0
QUIET_EVENTS = frozenset(
    {
        "mipro.iteration.start",
        "mipro.iteration.complete",
        "mipro.new_incumbent",
        "mipro.budget.update",
        "prompt.learning.best.prompt",
        "prompt.learning.top.prompt.content",
        "prompt.learning.final.results",
        "prompt.learning.mipro.complete",
        "prompt.learning.gepa.complete",
        "prompt.learning.progress",
        "prompt.learning.validation.summary",
        "prompt.learning.completed",
    }
)
"""Events for programs: their news stands in another event's line."""
TRIAL_EVENTS = frozenset({"mipro.trial.complete", "gepa.step.complete"})
PROPOSAL_EVENTS = frozenset({"mipro.instruction.proposed", "gepa.transformation.proposed"})
STEADY_EVENTS = TRIAL_EVENTS | PROPOSAL_EVENTS | {"mipro.test.progress", "mipro.ablation.progress"}
"""Events that may come many a second, as in a replay: plain shows the latest of them."""


class Display:
    """Shows one job; this one shows nothing of it. The terminal is in order again when its context is left."""

    def __init__(self, console: Console, job_id: str) -> None:
        self.console = console
        self.job_id = job_id
        self.last: Mapping[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def event(self, event: Mapping[str, Any], now: float) -> None:
        """Show an event. ``now`` is monotonic, in seconds."""

    def remember(self, event: Mapping[str, Any]) -> None:
        """Take an event that was shown in an earlier session."""

    def status(self, status: Mapping[str, Any]) -> None:
        """Take a new status document."""
        self.last = status

    def tick(self, now: float) -> None:
        """Be alive: called at least once a second."""

    def say(self, message: str) -> None:
        """Say something of the watcher itself."""

    def finish(self, status: Mapping[str, Any]) -> None:
        """Leave the static summary."""

    def _line(self, text: Text | str) -> None:
        line = Text(text) if isinstance(text, str) else text
        # Lines for a program or a log file stay whole.
        self.console.print(line, highlight=False, soft_wrap=not self.console.is_terminal)


class LogDisplay(Display):
    """One JSON object a line: events, then the last status."""

    def event(self, event: Mapping[str, Any], now: float) -> None:
        """Write the event."""
        self._write(event)

    def say(self, message: str) -> None:
        """Write it as an event without a number."""
        self._write({"type": "mipro_walk.watch", "message": message, "level": "warning", "job_id": self.job_id})

    def finish(self, status: Mapping[str, Any]) -> None:
        """Write the status."""
        self._write({"type": "mipro_walk.status", "job_id": self.job_id, "data": dict(status)})

    def _write(self, document: Mapping[str, Any]) -> None:
        self.console.print(Text(json.dumps(document)), highlight=False, soft_wrap=True)


class PlainDisplay(Display):
    """Lines that only ever go down: one for an event, at most one a second of the frequent kinds."""

    def __init__(self, console: Console, job_id: str) -> None:
        super().__init__(console, job_id)
        self._waiting: tuple[str, int] | None = None
        self._next_steady = 0.0
        self._last_output: float | None = None

    def event(self, event: Mapping[str, Any], now: float) -> None:
        """Print the line now, or keep it as the latest of its kind."""
        line = event_line(event, self.console)
        if line is None:
            return
        if event.get("type") in STEADY_EVENTS and event.get("level", "info") == "info":
            skipped = self._waiting[1] + 1 if self._waiting else 0
            self._waiting = (line, skipped)
            self._flush(now)
        else:
            self._flush(now, at_once=True)
            self._print(line, now)

    def tick(self, now: float) -> None:
        """Print what waits; after five silent seconds say how far the job is."""
        self._flush(now)
        if self._last_output is None:
            self._last_output = now
        if now - self._last_output >= HEARTBEAT_SECONDS:
            self._print(heartbeat(self.last), now)

    def say(self, message: str) -> None:
        """Print it."""
        self._line(message)

    def finish(self, status: Mapping[str, Any]) -> None:
        """Print what waits and the summary."""
        self._flush(0.0, at_once=True)
        self.console.print(summary(status, self.console))

    def _flush(self, now: float, *, at_once: bool = False) -> None:
        if self._waiting is None or (now < self._next_steady and not at_once):
            return
        line, skipped = self._waiting
        self._waiting = None
        self._next_steady = now + LINE_SECONDS
        self._print(f"{line} (+{skipped} more)" if skipped else line, now)

    def _print(self, line: str, now: float) -> None:
        self._last_output = now
        self._line(line)


def event_line(event: Mapping[str, Any], console: Console) -> str | None:
    """Return what a person should read of an event on one line, or ``None`` if nothing."""
    if event.get("type") in QUIET_EVENTS:
        return None
    message = str(event.get("message") or event.get("type") or "")
    indent = len(message) - len(message.lstrip(" "))
    limit = max(40, console.width - indent) if event.get("type") in PROPOSAL_EVENTS else 2000
    prefix = {"warning": "WARN ", "error": "FAIL "}.get(str(event.get("level")), "")
    return " " * min(indent, 8) + prefix + one_line(message, console.encoding, limit)
