"""The progression of a search as a chart of characters.

Drawn here rather than by a plotting package: a handful of marks on a grid, exact in width, the same with and
without colour, and in plain ASCII where the terminal cannot say more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

HEIGHT = 13
"""Rows; a multiple of four and one more, so that quarters of the axis fall on rows."""
MAX_WIDTH = 100
AXIS_WIDTH = 6
TEST_WIDTH = 10
MIN_SPAN = 0.2
SPARKS = "▁▂▃▄▅▆▇█"
ASCII_SPARKS = "_.-=+*#@"


@dataclass(frozen=True, slots=True)
class Marks:
    """The characters of one chart."""

    trial: str
    leader: str
    baseline: str
    side: str
    corner: str
    floor: str


UNICODE_MARKS = Marks("●", "━", "┄", "│", "└", "─")
ASCII_MARKS = Marks("o", "=", ".", "|", "+", "-")

STYLES = {"trial": "cyan", "leader": "green", "baseline": "yellow", "F": "bold cyan", "B": "bold yellow", "W": "bold"}


class _Grid:
    """Rows of styled characters; (0, 0) is the upper left."""

    def __init__(self, width: int, low: float, high: float) -> None:
        self.width, self.low, self.high = width, low, high
        self.cells = [[(" ", "")] * width for _ in range(HEIGHT)]

    def row(self, score: float) -> int:
        share = (min(self.high, max(self.low, score)) - self.low) / (self.high - self.low)
        return round((1 - share) * (HEIGHT - 1))

    def put(self, column: int, score: float, mark: str, style: str) -> None:
        if 0 <= column < self.width:
            self.cells[self.row(score)][column] = (mark, style)


def progress_chart(history: Mapping[str, Any], *, width: int, is_ascii: bool) -> list[Text]:
    """Return the chart of a ``score_history.json``, its axis and its legend, as lines.

    Left the search on val: each trial's minibatch score, the leader's score so far and the baseline. Right, behind
    a bar of its own because other rows were scored: finalists on common val rows, baseline and winner on test.

    Args:
        history: the document; trials without a score are left out of the chart.
        width: columns at most; 100 are the most that are used.
    """
    history = _seen_on_val(history)
    trials = [t for t in history.get("iterations", []) if isinstance(t, Mapping)]
    width = max(30, min(width, MAX_WIDTH))
    finalists, test = history.get("finalists") or [], history.get("test")
    right = TEST_WIDTH if finalists or test else 0
    left = width - AXIS_WIDTH - 1 - right
    low, high = _bounds(_all_scores(history))
    marks = ASCII_MARKS if is_ascii else UNICODE_MARKS
    grid = _Grid(left + right, low, high)
    columns = _columns(len(trials), left)
    _draw_search(grid, history, trials, columns, left, marks)
    _draw_right(grid, finalists, test, left, marks)
    lines = _framed(grid, marks)
    lines.append(_floor(columns, left, right, marks))
    lines.append(_numbers(columns, left, bool(finalists), test is not None))
    return [*lines, *_legend(history, trials, width, marks)]


def _seen_on_val(history: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a history whose trials are scores on val: GEPA's minibatches are train rows, so they are left out."""
    if history.get("algorithm") != "gepa":
        return history
    steps = [step for step in history.get("iterations", []) if isinstance(step, Mapping)]
    seen = [{**step, "minibatch_score": step.get("val_score"), "num_seeds": step.get("val_n")} for step in steps]
    return {**history, "iterations": seen}


def sparkline(values: Sequence[float | None], *, is_ascii: bool, width: int = 40) -> str:
    """Return the last ``width`` values in one line of bars, 0..1 over the full height; ``None`` is a blank."""
    bars = ASCII_SPARKS if is_ascii else SPARKS
    shown = list(values)[-width:]
    return "".join(" " if v is None else bars[min(len(bars) - 1, int(max(0.0, v) * len(bars)))] for v in shown)


def _all_scores(history: Mapping[str, Any]) -> list[float]:
    test = history.get("test") or {}
    found = [(history.get("baseline") or {}).get("score"), test.get("baseline"), test.get("winner")]
    found += [f.get("score") for f in history.get("finalists") or []]
    for trial in history.get("iterations", []):
        found += [trial.get("minibatch_score"), trial.get("best_score")]
    return [float(score) for score in found if score is not None]


def _bounds(scores: Sequence[float]) -> tuple[float, float]:
    """Return limits on tenths that hold every score and span at least ``MIN_SPAN``."""
    if not scores:
        return 0.0, 1.0
    low = max(0, int(min(scores) * 10 + 1e-9))
    high = min(10, int(max(scores) * 10 - 1e-9) + 1)
    while high - low < MIN_SPAN * 10:
        low, high = (low, high + 1) if high < 10 else (low - 1, high)
    return low / 10, high / 10


def _columns(count: int, width: int) -> list[int]:
    """Return the column of each trial, spread over ``width`` with a margin for the baseline's start."""
    if count == 0:
        return []
    step = min(9.0, (width - 4) / count)
    return [2 + int(index * step + step / 2) for index in range(count)]


def _draw_search(
    grid: _Grid,
    history: Mapping[str, Any],
    trials: Sequence[Mapping[str, Any]],
    columns: Sequence[int],
    left: int,
    marks: Marks,
) -> None:
    baseline = (history.get("baseline") or {}).get("score")
    if baseline is not None:
        for column in range(0, left - 1, 2):
            grid.put(column, baseline, marks.baseline, STYLES["baseline"])
    ends = [*columns[1:], *(min(left - 1, last + 3) for last in columns[-1:])]
    for trial, start, end in zip(trials, columns, ends, strict=True):
        if trial.get("best_score") is not None:
            for column in range(start, max(start + 1, end)):
                grid.put(column, trial["best_score"], marks.leader, STYLES["leader"])
    for trial, column in zip(trials, columns, strict=True):
        if trial.get("minibatch_score") is not None:
            grid.put(column, trial["minibatch_score"], marks.trial, STYLES["trial"])


def _draw_right(
    grid: _Grid, finalists: Sequence[Mapping[str, Any]], test: Mapping[str, Any] | None, left: int, marks: Marks
) -> None:
    if grid.width == left:
        return
    for row in grid.cells:
        row[left] = (marks.side, "dim")
    for finalist in reversed(finalists):
        if finalist.get("score") is not None:
            grid.put(left + 3, finalist["score"], "F", STYLES["F"])
    if test:
        grid.put(left + 6, test["baseline"], "B", STYLES["B"])
        grid.put(left + 8, test["winner"], "W", STYLES["W"])


def _framed(grid: _Grid, marks: Marks) -> list[Text]:
    ticks = {round(i * (HEIGHT - 1) / 4): grid.high - (grid.high - grid.low) * i / 4 for i in range(5)}
    lines = []
    for number, cells in enumerate(grid.cells):
        label = f"{ticks[number]:.2f}" if number in ticks else ""
        line = Text(f"{label:>{AXIS_WIDTH - 1}} ", style="", no_wrap=True)
        line.append(marks.side, "dim")
        for mark, style in cells:
            line.append(mark, style)
        line.rstrip()
        lines.append(line)
    return lines


def _floor(columns: Sequence[int], left: int, right: int, marks: Marks) -> Text:
    return Text(" " * AXIS_WIDTH + marks.corner + marks.floor * (left + right - 1), style="dim", no_wrap=True)


def _numbers(columns: Sequence[int], left: int, has_finalists: bool, has_test: bool) -> Text:
    """Return the iteration numbers under their columns, as many as fit."""
    row = [" "] * (left + TEST_WIDTH + 1)
    free = 0
    for index, column in enumerate(columns):
        label = str(index + 1)
        if column >= free and column + len(label) <= left:
            row[column : column + len(label)] = label
            free = column + len(label) + 2
    if has_finalists:
        row[left + 2 : left + 5] = "val"
    if has_test:
        row[left + 6 : left + 10] = "test"
    return Text(" " * (AXIS_WIDTH + 1) + "".join(row).rstrip(), style="dim", no_wrap=True)


def _legend(history: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], width: int, marks: Marks) -> list[Text]:
    """Return what each mark means and how many rows stand behind it, wrapped to ``width``."""
    sizes = sorted({t["num_seeds"] for t in trials if t.get("minibatch_score") is not None and "num_seeds" in t})
    rows = "" if not sizes else f" (n={sizes[0]})" if len(sizes) == 1 else f" (n={sizes[0]} to {sizes[-1]})"
    if history.get("algorithm") == "gepa":
        parts = [f"{marks.trial} accepted instruction on val rows{rows}", f"{marks.leader} leader so far"]
    else:
        parts = [f"{marks.trial} trial on val rows{rows}", f"{marks.leader} leader so far, all its val rows pooled"]
    baseline, test = history.get("baseline") or {}, history.get("test")
    if baseline.get("score") is not None:
        parts.append(f"{marks.baseline} baseline (val, n={baseline.get('n', '?')})")
    finalists = history.get("finalists") or []
    if finalists:
        parts.append(f"F finalists (val, n={finalists[0].get('n', '?')})")
    if test:
        parts.append(f"B baseline, W winner (test, n={test['n']})")
    lines, line = [], ""
    for part in parts:
        joined = f"{line}   {part}" if line else part
        if line and len(joined) > width:
            lines.append(line)
            joined = part
        line = joined
    lines.append(line)
    lines.append("Marks with a different n stand for different rows: compare within a group only.")
    return [Text(text, style="dim", overflow="fold") for text in lines]
