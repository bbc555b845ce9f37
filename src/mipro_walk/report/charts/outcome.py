"""Charts of the final test: the difference, what helped, which labels moved, which pairs are confused."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mipro_walk.report.charts.shared import TIP, Document, Spec, number
from mipro_walk.report.charts.svg import draw
from mipro_walk.results.words import points

WIDTH = 420
BAR = 26
NAME_CHARACTER = 7.4
"""Pixels that a character of a name may need."""
SIGNED = "datum.value == 0 ? '0' : format(datum.value, '+d')"
NO_ANSWER = "(no usable answer)"
MAX_LABELS = 12
"""Labels drawn of those that gained, and of those that lost."""
MAX_PAIRS = 10
BASELINE, WINNER = "var(--chart-baseline)", "var(--chart-winner)"


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
        "axis": {"title": "points gained over the baseline", "labelExpr": SIGNED, "tickCount": 7},
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
    return draw({"width": 520, "height": 44, "data": {"values": [row]}, "layer": layers}, text + ".")


def _span(x: Spec, low: str, high: str, color: str, width: int, text: str) -> Spec:
    mark = {"type": "rule", "color": color, "opacity": 0.45, "strokeWidth": width, "description": text}
    return {"mark": mark, "encoding": {"x": {**x, "field": low}, "x2": {"field": high}}}


def ablation(document: Document) -> str:
    """Return the scores of the four prompts, with the interval of each difference drawn from the baseline's score."""
    start = document["prompts"][0]["score"]
    rows = [_ablation_row(prompt, start) for prompt in document["prompts"]]
    names = [row["prompt"] for row in rows]
    y = {
        "field": "prompt",
        "type": "nominal",
        "sort": names,
        "axis": _names_axis(names),
        "scale": {"paddingInner": 0.35},
    }
    top = max(1e-9, *(row["high"] for row in rows))
    x = {
        "type": "quantitative",
        "scale": {"domain": [0, min(1.0, math.ceil(top * 10 + 1e-9) / 10)], "nice": False, "clamp": True},
        "axis": {"title": f"score on {document['n']} test rows", "format": ".1f", "tickCount": 6},
    }
    whiskers = [row for row in rows if row["prompt"] != "baseline"]
    layers: list[Spec] = [
        {
            "data": {"values": rows},
            "mark": {"type": "bar"},
            "encoding": {
                "y": y,
                "x": {**x, "field": "score"},
                "color": _colors("kind", {"baseline": BASELINE, "other": WINNER}),
                "description": TIP,
            },
        },
        {
            "mark": {"type": "rule", "color": BASELINE, "strokeDash": [5, 4], "strokeWidth": 2, "aria": False},
            "encoding": {"x": {**x, "datum": start}},
        },
        {
            "data": {"values": whiskers},
            "mark": {"type": "rule", "color": "var(--text)", "strokeWidth": 2, "aria": False},
            "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}},
        },
        {
            "data": {"values": whiskers},
            "mark": {"type": "point", "filled": True, "opacity": 1, "color": "var(--text)", "size": 40, "aria": False},
            "encoding": {"y": y, "x": {**x, "field": "score"}},
        },
    ]
    spec = {"width": WIDTH, "height": BAR * 1.4 * len(rows), "layer": layers}
    told = "; ".join(f"{row['prompt']} {row['score']:.2f}" for row in rows)
    return draw(spec, f"Scores on {document['n']} test rows: {told}.")


def _ablation_row(prompt: Document, start: float) -> Spec:
    tip = f"{prompt['prompt']}: {prompt['score']:.2f} (n={prompt['n']})"
    if prompt["prompt"] != "baseline":
        tip += f", {points(prompt['difference'])} points ({points(prompt['low'])} to {points(prompt['high'])})"
    return {
        "prompt": prompt["prompt"],
        "score": prompt["score"],
        "low": max(0.0, start + prompt["low"]),
        "high": min(1.0, start + prompt["high"]),
        "kind": "baseline" if prompt["prompt"] == "baseline" else "other",
        "tip": tip,
    }


def importance(document: Document) -> str | None:
    """Return the shares of both axes as one bar, ``None`` if they are not known."""
    if document.get("instruction") is None or document.get("demo_set") is None:
        return None
    shares = {"instruction": document["instruction"], "demonstrations": document["demo_set"]}
    rows = [{"axis": name, "share": share, "tip": f"{name}: {share * 100:.0f} %"} for name, share in shares.items()]
    axis = {"title": "share of what sets the better half of the candidates apart", "format": "%", "tickCount": 5}
    spec = {
        "width": WIDTH,
        "height": BAR * 1.4 * len(rows),
        "data": {"values": rows},
        "mark": {"type": "bar"},
        "encoding": {
            "y": {"field": "axis", "type": "nominal", "sort": list(shares), "axis": _names_axis(list(shares))},
            "x": {**number("share"), "scale": {"domain": [0, 1]}, "axis": axis},
            "color": _colors("axis", {"instruction": WINNER, "demonstrations": "var(--chart-final)"}),
            "description": TIP,
        },
    }
    return draw(spec, "Importance in the search: " + "; ".join(row["tip"] for row in rows) + ".")


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
            "label": _short(label["label"]),
            "change": label["change"],
            "kind": "gained" if label["change"] > 0 else "lost",
            "tip": f"{label['label']}: {label['baseline_right']} then {label['winner_right']} of {label['n']} right",
        }
        for label in shown
    ]
    most = max(abs(label["change"]) for label in shown)
    ticks = sorted({0, *(sign * value for sign in (1, -1) for value in _whole_ticks(most))})
    axis = {"title": "right answers more or fewer", "values": ticks, "labelExpr": SIGNED}
    spec = {
        "width": WIDTH,
        "height": BAR * len(rows),
        "data": {"values": rows},
        "mark": {"type": "bar"},
        "encoding": {
            "y": {"field": "label", "type": "nominal", "sort": None, "axis": _names_axis([r["label"] for r in rows])},
            "x": {**number("change"), "scale": {"domain": [-most, most], "nice": False}, "axis": axis},
            "color": _colors("kind", {"gained": "var(--good)", "lost": "var(--bad)"}),
            "description": TIP,
        },
    }
    return draw(spec, "Right answers by label, winner against baseline: " + "; ".join(r["tip"] for r in rows) + ".")


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
    rows: list[Spec] = []
    for expected, answered, before, after in pairs[:MAX_PAIRS]:
        for who, times in (("baseline", before), ("winner", after)):
            tip = f"{expected} answered as {answered}: {times} times by the {who}"
            rows.append({"pair": f"{_short(expected)} → {_short(answered)}", "who": who, "times": times, "tip": tip})
    if not rows:
        return None
    most = max(row["times"] for row in rows)
    axis = {"title": "times on test rows", "values": [0, *_whole_ticks(most)], "format": "d"}
    colors = {"baseline": BASELINE, "winner": WINNER}
    spec = {
        "width": 320,
        "height": {"step": 12, "for": "offset"},
        "data": {"values": rows},
        "mark": {"type": "bar"},
        "encoding": {
            "y": {
                "field": "pair",
                "type": "nominal",
                "sort": None,
                "axis": _names_axis([row["pair"] for row in rows]),
                "scale": {"paddingInner": 0.3},
            },
            "yOffset": {"field": "who", "type": "nominal", "sort": list(colors)},
            "x": {**number("times"), "scale": {"domain": [0, most], "nice": False}, "axis": axis},
            "color": _colors("who", colors),
            "description": TIP,
        },
    }
    return draw(spec, f"The {len(rows) // 2} most confused pairs of labels; the table below holds them all.")


def _names_axis(names: Sequence[str]) -> Spec:
    """Return an axis of names; the room for them holds in wider fonts than the one that the library measures."""
    room = NAME_CHARACTER * max(len(name) for name in names)
    look = {"labelColor": "var(--text)", "labelPadding": 8, "labelLimit": room, "minExtent": room}
    return {"title": None, "ticks": False, "domain": False, **look}


def _colors(field: str, colors: dict[str, str]) -> Spec:
    scale = {"domain": list(colors), "range": list(colors.values())}
    return {"field": field, "type": "nominal", "scale": scale, "legend": None}


def _short(label: object, limit: int = 26) -> str:
    text = str(label)
    return text if len(text) <= limit else text[: limit - 1] + "…"
