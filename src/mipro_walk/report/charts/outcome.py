"""Charts of the final test: the difference, what helped, which labels moved, which pairs are confused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from unicodedata import east_asian_width

from mipro_walk.counting import counted
from mipro_walk.report.charts.shared import TIP, Document, Spec, number
from mipro_walk.report.charts.svg import draw
from mipro_walk.results.words import points

WIDTH = 304
"""Inner width: the whole chart fits a phone. Names stand above their bars, since beside them nothing would be left."""
BAR = 11
STEP = 34
SIGNED = "datum.value == 0 ? '0' : format(datum.value, '+d')"
MAX_NAME = 46
NO_ANSWER = "(no usable answer)"
MAX_LABELS = 12
"""Labels drawn of those that gained, and of those that lost."""
MAX_PAIRS = 10
BASELINE, WINNER, OTHER = "var(--chart-baseline)", "var(--chart-winner)", "var(--chart-final)"


def difference(score: Document) -> str | None:
    """Return the difference of the final test with both intervals, ``None`` if no row was answered twice."""
    if not score["n"]:
        return None
    row = {name: score[name] * 100 for name in ("low", "high", "cautious_low", "cautious_high", "difference")}
    color = {"better": "var(--good)", "worse": "var(--bad)"}.get(score["verdict"], "var(--neutral)")
    ends = [0.0, row["cautious_low"], row["cautious_high"], row["low"], row["high"]]
    low, high = 5 * math.floor(min(ends) / 5), 5 * math.ceil(max(ends) / 5)
    x = {
        "type": "quantitative",
        "scale": {"domain": [low, high if high > low else low + 5], "nice": False},
        "axis": {"title": "points gained over the baseline", "labelExpr": SIGNED, "tickCount": 5},
    }
    text = f"{points(score['difference'])} points, 95 % interval {points(score['low'])} to {points(score['high'])}"
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "color": "var(--chart-axis)", "strokeWidth": 1.5, "aria": False},
            "encoding": {"x": {**x, "datum": 0}},
        },
        _span(x, "cautious_low", "cautious_high", color, 2, "Had every unknown row gone one way or the other"),
        _span(x, "low", "high", color, 9, text),
        {
            "mark": {"type": "point", "filled": True, "opacity": 1, "size": 190, "color": color, "description": text},
            "encoding": {"x": {**x, "field": "difference"}},
        },
    ]
    return draw({"width": WIDTH, "height": 44, "data": {"values": [row]}, "layer": layers}, text + ".")


def _span(x: Spec, low: str, high: str, color: str, width: int, text: str) -> Spec:
    mark = {"type": "rule", "color": color, "opacity": 0.45, "strokeWidth": width, "description": text}
    return {"mark": mark, "encoding": {"x": {**x, "field": low}, "x2": {"field": high}}}


def ablation(document: Document) -> str:
    """Return the scores of the four prompts, with the interval of each difference drawn from the baseline's score."""
    start = document["prompts"][0]["score"]
    rows = [_ablation_row(place, prompt, start) for place, prompt in enumerate(document["prompts"])]
    top = max(1e-9, *(row["high"] for row in rows))
    x = {
        "type": "quantitative",
        "scale": {"domain": [0, min(1.0, math.ceil(top * 10 + 1e-9) / 10)], "nice": False, "clamp": True},
        "axis": {"title": f"score on {counted(document['n'], 'test row')}", "format": ".1f", "tickCount": 6},
    }
    whiskers = [row for row in rows if row["name"] != "baseline"]
    y = _places(rows)
    layers: list[Spec] = [
        *_bars(rows, {**x, "field": "score"}),
        {
            "data": {"values": [{}]},
            "mark": {"type": "rule", "color": BASELINE, "strokeDash": [5, 4], "strokeWidth": 2, "aria": False},
            "encoding": {"x": {**x, "datum": start}},
        },
        {
            "data": {"values": whiskers},
            "mark": {"type": "rule", "color": "var(--text)", "strokeWidth": 2, "yOffset": BAR / 2, "aria": False},
            "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}},
        },
        {
            "data": {"values": whiskers},
            "mark": {"type": "circle", "color": "var(--text)", "opacity": 1, "yOffset": BAR / 2, "aria": False},
            "encoding": {"y": y, "x": {**x, "field": "score"}},
        },
    ]
    told = "; ".join(f"{row['name']} {row['score']:.2f}" for row in rows)
    return _draw_rows(layers, len(rows), f"Scores on {counted(document['n'], 'test row')}: {told}.")


def _ablation_row(place: int, prompt: Document, start: float) -> Spec:
    tip = f"{prompt['prompt']}: {prompt['score']:.2f} (n={prompt['n']})"
    if prompt["prompt"] != "baseline":
        tip += f", {points(prompt['difference'])} points ({points(prompt['low'])} to {points(prompt['high'])})"
    return {
        "key": place,
        "name": prompt["prompt"],
        "score": prompt["score"],
        "low": max(0.0, start + prompt["low"]),
        "high": min(1.0, start + prompt["high"]),
        "color": BASELINE if prompt["prompt"] == "baseline" else WINNER,
        "tip": tip,
    }


def importance(document: Document) -> str | None:
    """Return the shares of both axes, ``None`` if they are not known."""
    if document.get("instruction") is None or document.get("demo_set") is None:
        return None
    shares = (("instruction", document["instruction"], WINNER), ("demonstrations", document["demo_set"], OTHER))
    rows = [
        {"key": name, "name": name, "share": share, "color": color, "tip": f"{name}: {share * 100:.0f} %"}
        for name, share, color in shares
    ]
    axis = {"title": "share of what sets the better half apart", "format": "%", "tickCount": 5}
    x = {**number("share"), "scale": {"domain": [0, 1]}, "axis": axis}
    told = "; ".join(str(row["tip"]) for row in rows)
    return _draw_rows(_bars(rows, x), len(rows), f"Importance in the search: {told}.")


def shown_labels(labels: Sequence[Document]) -> list[Document]:
    """Return the labels to draw: the most gained and the most lost, in that order."""
    gained = [label for label in labels if label["change"] > 0][:MAX_LABELS]
    lost = [label for label in labels if label["change"] < 0][-MAX_LABELS:]
    return gained + lost


def label_changes(labels: Sequence[Document]) -> str | None:
    """Return right answers gained and lost by label, ``None`` if no label moved."""
    shown = shown_labels(labels)
    if not shown:
        return None
    rows = [
        {
            "key": place,
            "name": _short(label["label"]),
            "change": label["change"],
            "color": "var(--good)" if label["change"] > 0 else "var(--bad)",
            "tip": f"{label['label']}: {label['baseline_right']} then {label['winner_right']} of {label['n']} right",
        }
        for place, label in enumerate(shown)
    ]
    most = max(abs(label["change"]) for label in shown)
    ticks = sorted({0, *(sign * value for sign in (1, -1) for value in _whole_ticks(most))})
    axis = {"title": "right answers more or fewer", "values": ticks, "labelExpr": SIGNED}
    x = {**number("change"), "scale": {"domain": [-most, most], "nice": False}, "axis": axis}
    return _draw_rows(_bars(rows, x), len(rows), f"Right answers gained and lost by {counted(len(rows), 'label')}.")


def _whole_ticks(most: int) -> list[int]:
    step = max(1, math.ceil(most / 4))
    return list(range(step, most + 1, step))


def hard_pairs(confusions: Document) -> list[tuple[str, str, int, int]]:
    """Return ``(expected, answered, times of the baseline, times of the winner)``, the most frequent pairs first."""
    counts: dict[tuple[str, str], list[int]] = {}
    for place, who in enumerate(("baseline", "winner")):
        for pair in confusions.get(who) or []:
            answered = NO_ANSWER if pair["answered"] is None else str(pair["answered"])
            counts.setdefault((str(pair["expected"]), answered), [0, 0])[place] = int(pair["times"])
    ordered = sorted(counts.items(), key=lambda item: (-sum(item[1]), item[0]))
    return [(expected, answered, before, after) for (expected, answered), (before, after) in ordered]


def confusion(pairs: Sequence[tuple[str, str, int, int]]) -> str | None:
    """Return how often each of the hardest pairs was confused by baseline and winner, ``None`` without pairs."""
    shown = pairs[:MAX_PAIRS]
    if not shown:
        return None
    most = max(max(before, after) for _, _, before, after in shown)
    axis = {"title": "times on test rows", "values": [0, *_whole_ticks(most)], "format": "d"}
    x = {**number("times"), "scale": {"domain": [0, most], "nice": False}, "axis": axis}
    layers: list[Spec] = []
    for who, color, offset in (("baseline", BASELINE, 0), ("winner", WINNER, BAR)):
        rows = [
            {
                "key": place,
                "name": _short(f"{expected} → {answered}"),
                "times": times[who],
                "color": color,
                "tip": f"{expected} answered as {answered}: {counted(times[who], 'time')} by the {who}",
            }
            for place, (expected, answered, before, after) in enumerate(shown)
            for times in ({"baseline": before, "winner": after},)
        ]
        layers += _bars(rows, x, offset=offset - BAR / 2 + 4, names=who == "baseline")
    summary = f"The {len(shown)} most confused pairs of labels; the table below holds them all."
    return _draw_rows(layers, len(shown), summary, step=STEP + BAR)


def _bars(rows: Sequence[Spec], x: Spec, *, offset: float = BAR / 2, names: bool = True) -> list[Spec]:
    """Return bars of ``rows`` in their order, each with its name above it."""
    y = _places(rows)
    bars: Spec = {
        "data": {"values": list(rows)},
        "mark": {"type": "bar", "size": BAR, "yOffset": offset},
        "encoding": {"y": y, "x": x, "color": {"field": "color", "scale": None}, "description": TIP},
    }
    mark = {"type": "text", "align": "left", "baseline": "bottom", "dy": offset - BAR / 2 - 2, "aria": False}
    written: Spec = {
        "data": {"values": [{"key": row["key"], "name": row["name"]} for row in rows]},
        "mark": mark,
        "encoding": {"y": y, "x": {"value": 0}, "text": {"field": "name"}},
    }
    return [written, bars] if names else [bars]


def _places(rows: Sequence[Spec]) -> Spec:
    """Return the encoding of the place of each row; by a key of its own, since shortened names may be equal."""
    return {"field": "key", "type": "nominal", "sort": [row["key"] for row in rows], "axis": None}


def _draw_rows(layers: Sequence[Spec], count: int, summary: str, *, step: int = STEP) -> str:
    return draw({"width": WIDTH, "height": step * count, "layer": list(layers)}, summary)


def _short(label: object) -> str:
    """Return a name that fits above its bar; characters of East Asia take twice the room."""
    text, room = str(label), MAX_NAME
    for place, character in enumerate(text):
        room -= 2 if east_asian_width(character) in "WF" else 1
        if room < 0:
            return text[: place - 1] + "…"
    return text
