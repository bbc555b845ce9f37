"""A comparison on the screen: what it says in words, one table, what to look at next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from mipro_walk.cli.console import is_ascii_only
from mipro_walk.cli.visible import foreign, one_line, visible
from mipro_walk.counting import counted
from mipro_walk.report.comparison_page import interval_in_words

NAME_WIDTH = 40
GAP = 2
NOTHING = "-"
Row = tuple[str, ...]


def render(document: Mapping[str, Any], console: Console, *, page: Path | None = None) -> None:
    """Print a comparison document; ``page`` is where its report page lies."""
    console.print()
    for sentence in verdicts_in_words(document):
        _print(foreign(sentence, console, "bold"), console)
    _table(document, console)
    _per_point(document["entries"], console)
    _curve_words(document, console)
    for warning in document["warnings"]:
        _print(foreign(f"WARN {warning}", console, "yellow"), console)
    if page is not None:
        console.print()
        console.print(Text(f"Curves, prompts and their differences: {visible(page)}"), soft_wrap=True)


def verdicts_in_words(document: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each pair, or why there is none."""
    if document["unpaired"]:
        undecided = "Each stands with its own interval; which is better is not decided here."
        return [f"Not paired: {document['unpaired']}. {undecided}"]
    sentences = [str(pair["words"]) for pair in document["pairs"]]
    return sentences or ["Nothing to hold against each other: fewer than two methods have a run."]


def rows_of(document: Mapping[str, Any]) -> tuple[Row, list[Row]]:
    """Return the head and the rows of the table as text, one row for each method or job."""
    head = (
        "job" if document["mode"] == "jobs" else "method",
        "score on test, %",
        "over baseline, points",
        "verdict",
        "prompt tokens",
        "words/sentence, LIX",
        "rollouts",
        "settled",
        "calls made",
        "cost",
    )
    return head, [_row(entry) for entry in document["entries"]]


def _row(entry: Mapping[str, Any]) -> Row:
    if not entry["runs"]:
        return (entry["title"], "no run", *[NOTHING] * 8)
    gain, figures = entry["gain"], entry["prompt"]
    settled = (entry["curve"] or {}).get("settled") or []
    return (
        _title(entry),
        interval_in_words(entry["score"], nothing=NOTHING),
        interval_in_words(gain, "+", NOTHING),
        gain["verdict"] if gain else NOTHING,
        f"{figures['tokens']:.0f}",
        f"{figures['words_per_sentence']:.1f}, {figures['lix']:.0f}",
        NOTHING if entry["rollouts"] is None else f"{entry['rollouts']:.0f}",
        f"{sum(settled) / len(settled):.0f}" if settled else NOTHING,
        NOTHING if entry["calls_made"] is None else f"{entry['calls_made']:,}",
        dollars(entry["cost_usd"]["made"]),
    )


def _title(entry: Mapping[str, Any]) -> str:
    failed = len(entry["missing"])
    runs = len(entry["runs"])
    count = f" ({runs} of {runs + failed} runs)" if failed else (f" (mean of {runs})" if runs > 1 else "")
    return f"{entry['title']}{count}"


def dollars(value: float | None) -> str:
    """Return a cost: ``$0.0123``, ``$0`` or ``unknown``."""
    if value is None:
        return "unknown"
    return f"${value:.4f}" if 0 < value < 1 else f"${value:,.2f}" if value else "$0"


def _table(document: Mapping[str, Any], console: Console) -> None:
    first = next((entry for entry in document["entries"] if entry["score"]), None)
    rows = counted(first["score"]["n"], "test row") if first else "no test rows"
    budget = f"budget {document['budget']}" if document["budget"] is not None else "different budgets"
    seeds = ", rng seeds " + ", ".join(map(str, document["rng_seeds"])) if document["rng_seeds"] else ""
    console.print()
    _print(Text(f"Comparison on {visible(document['task'])}: {rows}, {budget}{seeds}", style="bold"), console)
    head, cells = rows_of(document)
    shown = [tuple(one_line(cell, console.encoding, NAME_WIDTH) for cell in row) for row in (head, *cells)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(head))]
    if console.is_terminal and sum(widths) + GAP * len(widths) > console.width:
        _blocks(head, cells, console)
    else:
        for number, row in enumerate(shown):
            line = (" " * GAP).join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            console.print(Text(line, style="" if number else "bold"), soft_wrap=True)
    note = (
        "rollouts: asked before the final test. settled: rollouts after which the choice changed no more. calls made: "
        "sent to a model, the test included; answers that another run had paid are not."
    )
    _print(Text(note, style="dim"), console)


def _print(line: Text, console: Console) -> None:
    """Print a sentence: wrapped on a terminal, on one line for a pipe."""
    console.print(line, soft_wrap=not console.is_terminal)


def _blocks(head: Row, cells: Sequence[Row], console: Console) -> None:
    """Print ``key: value`` lines where a terminal has no room for the columns."""
    for row in cells:
        console.print(foreign(row[0], console, "bold"))
        for name, value in zip(head[1:], row[1:], strict=True):
            console.print(Text(f"  {name}: {value}"))


def _per_point(entries: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Say what a point gained took, method by method; a method without a proven gain has no such price."""
    told = []
    for entry in entries:
        if per_point := entry.get("per_point"):
            usd = f", {dollars(per_point['usd'])}" if per_point["usd"] else ""
            told.append(f"{visible(entry['title'])} {per_point['rollouts']:.1f} rollouts{usd}")
    if told:
        _print(Text(f"For each point gained over the baseline: {'; '.join(told)}."), console)
    elif any(entry["gain"] for entry in entries):
        _print(Text("Cost per point gained: no gain over the baseline is proven, so there is no such price."), console)


def _curve_words(document: Mapping[str, Any], console: Console) -> None:
    half = document["curves"]["half_way"]
    if half is None:
        return
    told = [
        f"{visible(entry['title'])} after {entry['half_way_after']}"
        if entry["half_way_after"] is not None
        else f"{visible(entry['title'])} never"
        for entry in document["entries"]
        if (entry.get("curve") or {}).get("points")
    ]
    joined = "; ".join(told)
    dash = "--" if is_ascii_only(console) else "–"
    _print(Text(f"Half of the way up (estimate {half:.2f} on val) {dash} rollouts asked: {joined}."), console)
