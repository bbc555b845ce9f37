"""A running job as a live panel at the bottom of a terminal: phase, bar, curve and the last trials."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mipro_walk.cli.charts import sparkline
from mipro_walk.cli.console import NARROW, is_ascii_only
from mipro_walk.cli.line_displays import TRIAL_EVENTS, Display, event_line
from mipro_walk.cli.progress_words import (
    best_in_words,
    phase_in_words,
    rollouts_in_words,
    score_with_n,
    summary,
    time_in_words,
    usage_in_words,
)
from mipro_walk.cli.visible import visible

REFRESH_PER_SECOND = 4
SHOWN_TRIALS = 5


class RichDisplay(Display):
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


def bar(progress: Mapping[str, Any], width: int, is_ascii: bool) -> str:
    """Return a bar of ``width`` columns for the rollouts done."""
    planned = int(progress.get("rollouts_planned") or 0)
    done = min(int(progress.get("rollouts_done") or 0), planned)
    filled = round(width * done / planned) if planned else 0
    full, empty = ("#", ".") if is_ascii else ("█", "░")
    return full * filled + empty * (width - filled)


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
