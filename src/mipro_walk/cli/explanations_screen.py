"""Why the scores are what they are, on the screen: what helped, which labels moved, what is confused, which rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mipro_walk.cli.console import NARROW, is_ascii_only
from mipro_walk.cli.screen_parts import heading
from mipro_walk.cli.visible import foreign, one_line, visible
from mipro_walk.counting import counted
from mipro_walk.results.words import indifference_in_words, judge_in_words, points

SHOWN_LABELS = 5
SHOWN_PAIRS = 5
SHOWN_ROWS = 3
BAR_WIDTH = 12
COUNT_WIDTH = 6
MAX_NAME = 44
COMMON_KEPT = 12
"""Characters of a common beginning that stay when it is cut, so that one sees where the difference lies."""
QUERY_WIDTH = 120
NO_ANSWER = "(no usable answer)"
NOISE = "within noise"

Part = Mapping[str, Any]


def render_explanations(document: Part, console: Console) -> None:
    """Print an ``explanations.json``; parts that do not apply to the run are left out."""
    if document.get("ablation") or document.get("importance"):
        heading("What helped", console)
        _ablation(document.get("ablation"), console)
        _importance(document.get("importance"), console)
    _measures(document, console)
    _labels(document.get("labels") or [], console)
    _confusions(document.get("confusions"), console)
    _rows(document, console)


# ---- ablation and importance


def _ablation(ablation: Part | None, console: Console) -> None:
    if ablation is None:
        return
    if ablation.get("skipped"):
        _note(
            f"Instruction and demonstrations were not tried apart: {visible(ablation['skipped'], console.encoding)}.",
            console,
        )
        return
    if not ablation["n"]:
        _note("Instruction and demonstrations were tried apart, but no row has four known answers.", console)
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for prompt in ablation["prompts"]:
        table.add_row(*_ablation_row(prompt, console))
    console.print(Padding(table, (0, 0, 0, 2)), highlight=False)
    left_out = f"; {ablation['excluded']} left out because an answer is unknown" if ablation.get("excluded") else ""
    _note(
        f"All four on the same {counted(ablation['n'], 'test row')}{left_out}. "
        "Differences are to the baseline, in points, with their 95 % intervals.",
        console,
    )


def _ablation_row(prompt: Part, console: Console) -> list[Text]:
    name, score = foreign(prompt["prompt"], console), Text(f"{prompt['score']:.2f}")
    difference = Text("" if prompt["prompt"] == "baseline" else _difference(prompt, console.width < NARROW))
    if console.width < NARROW:
        return [name, score, difference]
    return [name, Text(_bar(prompt["score"], is_ascii_only(console)), style="cyan"), score, difference]


def _bar(score: float, is_ascii: bool) -> str:
    full, empty = ("#", ".") if is_ascii else ("█", "░")
    filled = round(BAR_WIDTH * score)
    return full * filled + empty * (BAR_WIDTH - filled)


def _difference(prompt: Part, is_narrow: bool) -> str:
    text = points(prompt["difference"])
    if not is_narrow:
        text += f" ({points(prompt['low'])} to {points(prompt['high'])})"
    return text if prompt["verdict"] != "no significant gain" else f"{text}, {NOISE}"


def _importance(importance: Part | None, console: Console) -> None:
    if importance is None:
        return
    if importance["instruction"] is None:
        words = f"not known: {importance['reason']}"
    else:
        words = (
            f"instruction {importance['instruction'] * 100:.0f} %, "
            f"demonstrations {importance['demo_set'] * 100:.0f} % "
            f"of what set the better half of {importance['candidates']} candidates apart on val rows"
        )
    _note(f"Importance in the search: {visible(words, console.encoding)}.", console)


# ---- further measures


def _measures(document: Part, console: Console) -> None:
    figures, correlation, judge = (document.get(name) for name in ("figures", "correlation", "judge"))
    if not figures and not correlation and not judge:
        return
    heading("Other measures on the same test rows", console)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("", "baseline", "winner", "rows"):
        table.add_column(title, justify="left" if not title else "right", overflow="fold")
    for figure in figures or []:
        name = _name(figure["name"], console, 40)
        table.add_row(Text(name), f"{figure['baseline']:.2f}", f"{figure['winner']:.2f}", str(figure["n"]))
    if correlation:
        before, after = correlation["baseline"], correlation["winner"]
        rows = str(before["n"]) if before["n"] == after["n"] else f"{before['n']} / {after['n']}"
        table.add_row(Text("rank correlation"), _number(before["value"]), _number(after["value"]), rows)
    if table.row_count:
        console.print(Padding(table, (0, 0, 0, 2)), highlight=False)
    if judge:
        _note(judge_in_words(judge), console)
        if warning := indifference_in_words(judge):
            console.print(Padding(Text(warning, style="yellow", overflow="fold"), (0, 0, 0, 2)))


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


# ---- labels, pairs, rows


def _labels(labels: Sequence[Part], console: Console) -> None:
    gained = [label for label in labels if label["change"] > 0][:SHOWN_LABELS]
    lost = [label for label in reversed(labels) if label["change"] < 0][:SHOWN_LABELS]
    if not gained and not lost:
        return
    heading("Labels most gained and lost (right answers on test rows)", console)
    groups = [
        (group, number == 0, _label_row(label, console))
        for group, members in (("gained", gained), ("lost", lost))
        for number, label in enumerate(members)
    ]
    if console.width < NARROW:
        for group, _, (name, counts, _noise) in groups:
            _item(f"{group} {name.plain}: {counts.plain}", console)
    else:
        table = Table.grid(padding=(0, 2, 0, 0))
        for group, is_first, row in groups:
            table.add_row(Text(group if is_first else "", style="dim"), *row)
        console.print(Padding(table, (0, 0, 0, 2)), highlight=False)
    if any(label["verdict"] == "no significant gain" for label in (*gained, *lost)):
        _note(f"{NOISE.capitalize()}: so few rows of a label often change by themselves.", console)


def _label_row(label: Part, console: Console) -> list[Text]:
    arrow = "->" if is_ascii_only(console) else "→"
    counts = f"{label['baseline_right']} {arrow} {label['winner_right']} of {label['n']}"
    noise = NOISE if label["verdict"] == "no significant gain" and console.width >= NARROW else ""
    return [Text(_name(label["label"], console, 40), overflow="fold"), Text(counts), Text(noise, style="dim")]


def _confusions(confusions: Part | None, console: Console) -> None:
    if not confusions or not (confusions["baseline"] or confusions["winner"]):
        return
    before, after = (_counts(confusions[who]) for who in ("baseline", "winner"))
    shown = list(dict.fromkeys([*list(before)[:SHOWN_PAIRS], *list(after)[:SHOWN_PAIRS]]))
    heading("Most confused pairs (times on test rows, baseline and winner)", console)
    room = 2 * COUNT_WIDTH + 10
    if console.width < NARROW:
        for pair in shown:
            names = " => ".join(_name(name, console, console.width) for name in pair)
            _item(f"{names}: {before.get(pair, 0)}, then {after.get(pair, 0)}", console)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("expected", "answered"):
        table.add_column(title, overflow="fold")
    for title in ("before", "after"):
        table.add_column(title, justify="right", min_width=COUNT_WIDTH)
    for pair in shown:
        expected, answered = (Text(_name(name, console, (console.width - room) // 2)) for name in pair)
        table.add_row(expected, answered, str(before.get(pair, 0)), str(after.get(pair, 0)))
    console.print(Padding(table, (0, 0, 0, 2)), highlight=False)


def _counts(pairs: Sequence[Part]) -> dict[tuple[str, str], int]:
    """Return ``(expected, answered) -> times``, most frequent first."""
    return {(p["expected"], NO_ANSWER if p["answered"] is None else p["answered"]): p["times"] for p in pairs}


def _rows(document: Part, console: Console) -> None:
    test, fixed, broken = document.get("test"), document.get("fixed") or [], document.get("broken") or []
    if not test or not (fixed or broken):
        return
    # Where scores are fractions, more rows gain and lose than become right and wrong.
    meaning = "; right is a full score" if document.get("figures") else ""
    heading(f"Rows fixed and broken (of {counted(test['n'], 'test row')}{meaning})", console)
    for title, rows, who in (("fixed", fixed, "baseline"), ("broken", broken, "winner")):
        console.print(Text(f"  {len(rows)} {title}" + (", for example:" if len(rows) > SHOWN_ROWS else "")))
        for row in rows[:SHOWN_ROWS]:
            console.print(Padding(_row(row, who, console), (0, 0, 0, 4)))
    if test["unknown"]:
        _note(f"{counted(test['unknown'], 'further test row')} left out because an answer is unknown.", console)


def _row(row: Part, who: str, console: Console) -> Text:
    answer = NO_ANSWER if row[who] is None else row[who]
    text = Text(f'"{one_line(row["query"], console.encoding, QUERY_WIDTH)}"', overflow="fold")
    verb = "the baseline said" if who == "baseline" else "the winner says"
    label, answer = _told_apart(row["label"], answer, "..." if is_ascii_only(console) else "…")
    said = f": {_name(label, console, 60)}; {verb} {_name(answer, console, 60)}"
    return text.append(said, style="dim")


def _told_apart(label: str, answer: str, dots: str) -> tuple[str, str]:
    """Return both without most of their common beginning, if they differ only where a screen would cut them."""
    common = next((i for i, (a, b) in enumerate(zip(label, answer, strict=False)) if a != b), 0)
    if common < MAX_NAME // 2 or max(len(label), len(answer)) <= MAX_NAME:
        return label, answer
    start = max(0, common - COMMON_KEPT)
    return dots + label[start:], dots + answer[start:]


def _name(name: object, console: Console, room: int) -> str:
    return one_line(name, console.encoding, max(8, min(MAX_NAME, room)))


def _item(text: str, console: Console) -> None:
    """Print one thing of a list; what does not fit stands indented below it."""
    first, *rest = Text(text).wrap(console, max(20, console.width - 4), overflow="fold")
    console.print(Padding(first, (0, 0, 0, 2)), highlight=False)
    for line in rest:
        console.print(Padding(line, (0, 0, 0, 4)), highlight=False)


def _note(text: str, console: Console) -> None:
    console.print(Padding(Text(text, style="dim", overflow="fold"), (0, 0, 0, 2)))
