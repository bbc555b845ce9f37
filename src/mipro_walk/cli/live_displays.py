"""The ways to show a running job: rich (a live panel), plain (lines), log (JSON lines), none."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mipro_walk.cli.charts import sparkline
from mipro_walk.cli.heartbeat import HEARTBEAT_SECONDS
from mipro_walk.cli.visible import one_line, visible
from mipro_walk.errors import ConfigError

DISPLAYS = ("rich", "plain", "log", "none")
REFRESH_PER_SECOND = 4
LINE_SECONDS = 1.0
SHOWN_TRIALS = 5
NARROW = 60
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


class Display(Protocol):
    """Shows one job. Used as a context manager; the terminal is in order again when it is left."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def event(self, event: Mapping[str, Any], now: float) -> None:
        """Show an event. ``now`` is monotonic, in seconds."""
        ...

    def remember(self, event: Mapping[str, Any]) -> None:
        """Take an event that was shown in an earlier session."""
        ...

    def status(self, status: Mapping[str, Any]) -> None:
        """Take a new status document."""
        ...

    def tick(self, now: float) -> None:
        """Be alive: called at least once a second."""
        ...

    def say(self, message: str) -> None:
        """Say something of the watcher itself."""
        ...

    def finish(self, status: Mapping[str, Any]) -> None:
        """Leave the static summary."""
        ...


def make_display(name: str, console: Console, job_id: str) -> Display:
    """Return a display by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name == "rich":
        return RichDisplay(console, job_id)
    if name == "plain":
        return PlainDisplay(console, job_id)
    if name == "log":
        return LogDisplay(console, job_id)
    if name == "none":
        return NoDisplay(console, job_id)
    raise ConfigError(f"There is no display {name!r}.", f"Use one of: {', '.join(DISPLAYS)}.")


class NoDisplay:
    """Shows nothing; the base of the others."""

    def __init__(self, console: Console, job_id: str) -> None:
        self.console = console
        self.job_id = job_id
        self.last: Mapping[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def event(self, event: Mapping[str, Any], now: float) -> None:
        """Show nothing."""

    def remember(self, event: Mapping[str, Any]) -> None:
        """Show nothing."""

    def status(self, status: Mapping[str, Any]) -> None:
        """Remember it."""
        self.last = status

    def tick(self, now: float) -> None:
        """Stay silent."""

    def say(self, message: str) -> None:
        """Stay silent."""

    def finish(self, status: Mapping[str, Any]) -> None:
        """Stay silent."""

    def _line(self, text: Text | str) -> None:
        line = Text(text) if isinstance(text, str) else text
        # Lines for a program or a log file stay whole.
        self.console.print(line, highlight=False, soft_wrap=not self.console.is_terminal)


class LogDisplay(NoDisplay):
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


class PlainDisplay(NoDisplay):
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


class RichDisplay(NoDisplay):
    """A live panel at the bottom, event lines scrolling above it."""

    def __init__(self, console: Console, job_id: str) -> None:
        super().__init__(console, job_id)
        self._trials: deque[Mapping[str, Any]] = deque(maxlen=400)
        self._received = time.monotonic()
        self._live = Live(
            console=console,
            refresh_per_second=REFRESH_PER_SECOND,
            transient=True,
            get_renderable=self._panel,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def event(self, event: Mapping[str, Any], now: float) -> None:
        """Let the line scroll by; a trial also enters the table."""
        self.remember(event)
        line = event_line(event, self.console)
        if line is not None:
            style = {"warning": "yellow", "error": "bold red"}.get(str(event.get("level")), "")
            self._line(Text(line, style="bold" if event.get("type") == "mipro.phase" else style))

    def remember(self, event: Mapping[str, Any]) -> None:
        """Put a trial into the table and the curve."""
        if event.get("type") in TRIAL_EVENTS:
            self._trials.append(event.get("data") or {})

    def status(self, status: Mapping[str, Any]) -> None:
        """Take it for the next frame."""
        self.last = status
        self._received = time.monotonic()

    def say(self, message: str) -> None:
        """Print it above the panel."""
        self._line(Text(message, style="yellow"))

    def finish(self, status: Mapping[str, Any]) -> None:
        """Replace the panel by the summary."""
        self._live.stop()
        self.console.print(summary(status, self.console))

    def _panel(self) -> RenderableType:
        parts: list[RenderableType] = [Text(""), self._phase_line(), self._bar_line()]
        if self._trials:
            is_ascii = is_ascii_only(self.console)
            curve = sparkline([t.get("best_score") for t in self._trials], is_ascii=is_ascii)
            parts.append(
                Text(f"best so far {curve} {best_in_words(self.last)}".rstrip(), overflow="crop", no_wrap=True)
            )
            parts.append(trial_table(list(self._trials)[-SHOWN_TRIALS:], self.console))
        parts.append(Text(usage_in_words(self.last), style="dim"))
        return Group(*parts)

    def _phase_line(self) -> Text:
        return Text(phase_in_words(self.last) or f"Job {self.job_id}: waiting to start", style="bold")

    def _bar_line(self) -> Text:
        progress = self.last.get("progress") or {}
        drift = time.monotonic() - self._received if self.last.get("status") == "running" else 0.0
        tail = f" {rollouts_in_words(progress)}  {time_in_words(progress, drift)}"
        width = max(8, min(40, self.console.width - len(tail) - 1))
        return Text(bar(progress, width, is_ascii_only(self.console)) + tail, overflow="crop", no_wrap=True)


def is_ascii_only(console: Console) -> bool:
    """Whether the console cannot say block and line characters."""
    try:
        "█░─…▁".encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def event_line(event: Mapping[str, Any], console: Console) -> str | None:
    """Return what a person should read of an event on one line, or ``None`` if nothing."""
    if event.get("type") in QUIET_EVENTS:
        return None
    message = str(event.get("message") or event.get("type") or "")
    indent = len(message) - len(message.lstrip(" "))
    limit = max(40, console.width - indent) if event.get("type") in PROPOSAL_EVENTS else 2000
    prefix = {"warning": "WARN ", "error": "FAIL "}.get(str(event.get("level")), "")
    return " " * min(indent, 8) + prefix + one_line(message, console.encoding, limit)


def bar(progress: Mapping[str, Any], width: int, is_ascii: bool) -> str:
    """Return a bar of ``width`` columns for the rollouts done."""
    planned = int(progress.get("rollouts_planned") or 0)
    done = min(int(progress.get("rollouts_done") or 0), planned)
    filled = round(width * done / planned) if planned else 0
    full, empty = ("#", ".") if is_ascii else ("█", "░")
    return full * filled + empty * (width - filled)


def rollouts_in_words(progress: Mapping[str, Any]) -> str:
    """Return ``120/300 rollouts``, with the unknown and the reused ones if there are any."""
    text = f"{progress.get('rollouts_done') or 0}/{progress.get('rollouts_planned') or '?'} rollouts"
    if progress.get("recorded_reused"):
        text += f", {progress['recorded_reused']} reused"
    return text + (f", {progress['unknown']} unknown" if progress.get("unknown") else "")


def phase_in_words(status: Mapping[str, Any]) -> str:
    """Return such as ``Phase 2 of 4: search, iteration 4/10``; empty before the first phase."""
    progress = status.get("progress") or {}
    if not progress.get("phase_number"):
        return ""
    text = f"Phase {progress['phase_number']} of {progress.get('phases', 4)}: {visible(progress.get('phase', ''))}"
    if progress.get("phase") == "search":
        text += f", iteration {progress.get('iteration', 0)}/{progress.get('num_iterations', '?')}"
    if progress.get("phase") == "evolution" and progress.get("iteration"):
        text += f", step {progress['iteration']}"
    return text


def best_in_words(status: Mapping[str, Any]) -> str:
    """Return ``0.56 (n=24)``; empty if nothing is known."""
    progress = status.get("progress") or {}
    if progress.get("best_score") is None:
        return ""
    return f"{progress['best_score']:.2f} (n={progress.get('best_n', 0)})"


def duration(seconds: float) -> str:
    """Return ``2:05`` or ``1:02:05``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def time_in_words(progress: Mapping[str, Any], drift: float = 0.0) -> str:
    """Return the time taken and, if it can be told, about how much is left; ``drift`` is the status's age."""
    text = duration((progress.get("elapsed_seconds") or 0.0) + drift)
    eta = progress.get("eta_seconds")
    return text if eta is None else f"{text}, about {duration(max(0.0, eta - drift))} left"


def cost_in_words(usage: Mapping[str, Any], models: Mapping[str, Any] | None = None) -> str:
    """Return the cost of all roles: ``$0.0123``, ``$0.00`` when nothing was charged, or ``unknown``."""
    costs = [(part or {}).get("cost_usd") for part in usage.values() if (part or {}).get("calls")]
    if any(cost is None for cost in costs):
        return "cost unknown"
    total = sum(float(cost) for cost in costs if cost is not None)
    if total == 0:
        providers = {str((model or {}).get("provider")) for model in (models or {}).values()}
        return "$0.00 (local model)" if providers == {"local"} else "$0.00"
    return f"${total:.4f}" if total < 1 else f"${total:.2f}"


def usage_in_words(status: Mapping[str, Any]) -> str:
    """Return calls, tokens and cost so far."""
    usage = (status.get("progress") or {}).get("usage") or {}
    calls = sum(int((part or {}).get("calls") or 0) for part in usage.values())
    prompt = sum(int((part or {}).get("prompt_tokens") or 0) for part in usage.values())
    completion = sum(int((part or {}).get("completion_tokens") or 0) for part in usage.values())
    return f"{calls:,} model calls, {prompt:,} + {completion:,} tokens (in + out), {cost_in_words(usage)}"


def heartbeat(status: Mapping[str, Any]) -> str:
    """Return the line that says that the job lives."""
    progress = status.get("progress") or {}
    where = phase_in_words(status) or f"Job is {status.get('status', 'starting')}"
    return f"... {where}; {rollouts_in_words(progress)}; {time_in_words(progress)}"


def trial_table(trials: list[Mapping[str, Any]], console: Console) -> RenderableType:
    """Return the trials as a table, or as lines in a narrow terminal."""
    is_gepa = any("parent" in t for t in trials)
    names, rows = _gepa_rows(trials, console) if is_gepa else _mipro_rows(trials, console)
    if console.width < NARROW:
        lines = [f"{row[0]}: {'val' if is_gepa else 'score'} {row[3]}, best {row[4]}" for row in rows]
        return Text("\n".join(lines), overflow="fold")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in names:
        table.add_column(name, no_wrap=True, overflow="crop", justify="right" if name else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


_Rows = list[tuple[str, str, str, str, str, str]]


def _gepa_rows(steps: list[Mapping[str, Any]], console: Console) -> tuple[tuple[str, ...], _Rows]:
    """Return a line for each step: who was improved, on what it was tried, and whether it was accepted."""
    rows = [
        (
            str(s.get("iteration", 0) + 1),
            f"{s.get('parent', '?')}{'' if s.get('instruction') is None else ' > ' + str(s['instruction'])}",
            "" if s.get("minibatch_score") is None else f"{s.get('parent_score'):.2f} > {s['minibatch_score']:.2f}",
            "" if s.get("val_score") is None else score_with_n(s["val_score"], s.get("val_n")),
            score_with_n(s.get("best_score"), s.get("best_n")),
            visible(s.get("status", ""), console.encoding),
        )
        for s in steps
    ]
    return ("step", "instruction", "minibatch", "val", "best so far", ""), rows


def _mipro_rows(trials: list[Mapping[str, Any]], console: Console) -> tuple[tuple[str, ...], _Rows]:
    rows = [
        (
            str(t.get("iteration", 0) + 1),
            str(t.get("instruction", "?")),
            str(t.get("demo_set", "?")),
            score_with_n(t.get("minibatch_score"), t.get("num_seeds")),
            score_with_n(t.get("best_score"), t.get("best_n")),
            "" if t.get("status") in (None, "complete") else visible(t["status"], console.encoding),
        )
        for t in trials
    ]
    return ("iteration", "instruction", "demo set", "score", "best so far", ""), rows


def score_with_n(score: float | None, n: int | None) -> str:
    """Return ``0.56 (n=8)``, or ``unknown``."""
    return "unknown" if score is None else f"{score:.2f} (n={n})"


def summary(status: Mapping[str, Any], console: Console) -> Text:
    """Return what stays on the screen when the watching ends."""
    progress = status.get("progress") or {}
    state = str(status.get("status"))
    words = {"succeeded": "OK", "completed": "OK", "failed": "FAIL", "paused": "PAUSED"}
    style = {"succeeded": "bold green", "completed": "bold green", "failed": "bold red"}.get(state, "bold yellow")
    text = Text(overflow="fold")
    text.append(f"{words.get(state, state.upper())}  ", style)
    text.append(f"Job {visible(status.get('job_id', '?'), console.encoding)} {visible(state, console.encoding)}")
    if status.get("stop_reason"):
        text.append(f" ({visible(status['stop_reason'], console.encoding)})")
    if progress.get("rollouts_planned"):
        text.append(f"\n  {rollouts_in_words(progress)} in {time_in_words({**progress, 'eta_seconds': None})}")
    best = best_in_words(status)
    if best:
        text.append(f"\n  best in the search: {best} on val rows")
    text.append(f"\n  {usage_in_words(status)}")
    return text
