"""Charts of a comparison: scores and differences with their intervals, and who had found what after how many calls."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mipro_walk.report.charts.shared import TIP, WIDTH, Document, Spec
from mipro_walk.report.charts.svg import draw

ROW = 46
CURVE_HEIGHT = 300
BAND_OPACITY = 0.14
NARROW = 316
"""Inner width of charts that fit on a phone, in pixels."""
NAME_ABOVE = 15
MAX_NAME = 44
COLORS = (
    "var(--chart-winner)",
    "var(--chart-final)",
    "var(--chart-leader)",
    "var(--chart-baseline)",
    "var(--chart-startup)",
)
"""Of the methods in their order; the dashes tell them apart where colours do not."""
DASHES = ([1, 0], [8, 3], [2, 3], [10, 3, 2, 3], [5, 5])
SIGNED = "datum.value == 0 ? '0' : format(datum.value, '+d')"
TONES = {"better": "var(--good)", "worse": "var(--bad)"}


def scores(document: Document) -> str | None:
    """Return each entry's score on test with its interval, ``None`` if none has one."""
    rows = [
        {
            "name": _short(entry["title"]),
            "low": 100 * entry["score"]["low"],
            "high": 100 * entry["score"]["high"],
            "value": 100 * entry["score"]["value"],
            "color": color_of(document, entry["name"]),
        }
        for entry in document["entries"]
        if entry["score"]
    ]
    if not rows:
        return None
    for row in rows:
        row["tip"] = f"{row['name']}: {row['value']:.1f} % ({row['low']:.1f} to {row['high']:.1f})"
    return _intervals(rows, "score on test, %", "d", None, "Scores on test")


def pair_differences(document: Document) -> str | None:
    """Return the difference of each pair with its interval, ``None`` without a pair."""
    rows = [
        {
            "name": _short(f"{pair['first']} against {pair['second']}"),
            "low": 100 * pair["difference"]["low"],
            "high": 100 * pair["difference"]["high"],
            "value": 100 * pair["difference"]["value"],
            "color": TONES.get(pair["verdict"], "var(--neutral)"),
            "tip": pair["words"],
        }
        for pair in document["pairs"]
    ]
    return _intervals(rows, "difference on the same test rows, points", SIGNED, 0.0, "Differences") if rows else None


def convergence(document: Document) -> str | None:
    """Return the curves of all entries on one axis with the spread of their runs, ``None`` without any point."""
    drawn = [entry for entry in document["entries"] if (entry.get("curve") or {}).get("points")]
    if not drawn:
        return None
    last = max(entry["curve"]["points"][-1][0] for entry in drawn)
    values = [point[place] for entry in drawn for point in entry["curve"]["points"] for place in (2, 3)]
    low, high = math.floor(min(values) * 20) / 20, math.ceil(max(values) * 20) / 20
    x = {
        "type": "quantitative",
        "scale": {"domain": [0, max(1, last)], "nice": False},
        "axis": {"title": "rollouts asked", "grid": False, "tickCount": 10, "format": "d"},
    }
    y = {
        "type": "quantitative",
        "scale": {"domain": [low, high if high > low else low + 0.1], "nice": False},
        "axis": {"title": "estimate on val", "format": ".2f", "tickCount": 6},
    }
    layers = [layer for entry in drawn for layer in _curve(document, entry, last, x, y)]
    told = "; ".join(f"{entry['title']} ends at {entry['curve']['points'][-1][1]:.2f}" for entry in drawn)
    spec = {"width": WIDTH, "height": CURVE_HEIGHT, "layer": layers}
    return draw(spec, f"Estimate on val against rollouts asked: {told}.")


def color_of(document: Document, name: str) -> str:
    """Return the colour of an entry in every chart."""
    return COLORS[_place(document, name) % len(COLORS)]


def swatch_of(document: Document, name: str) -> tuple[str, str]:
    """Return an entry's colour variable and the dashes of its line, for the legend."""
    place = _place(document, name) % len(COLORS)
    return COLORS[place].removeprefix("var(").removesuffix(")"), " ".join(map(str, DASHES[place]))


def _place(document: Document, name: str) -> int:
    return [entry["name"] for entry in document["entries"]].index(name)


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


def _curve(document: Document, entry: Document, last: float, x: Spec, y: Spec) -> list[Spec]:
    points = entry["curve"]["points"]
    rows = [{"rollouts": at, "mean": mean, "low": low, "high": high} for at, mean, low, high in points]
    if len(rows) == 1:  # a prompt that nothing changes holds all along the axis
        rows.append({**rows[0], "rollouts": last})
    place = _place(document, entry["name"]) % len(COLORS)
    at_x = {**x, "field": "rollouts"}
    for row in rows:
        row["tip"] = f"{entry['title']} after {row['rollouts']:.0f} rollouts: {row['mean']:.3f}"
    data = {"values": rows}
    layers: list[Spec] = []
    if len(entry["runs"]) > 1:
        band = {"type": "area", "interpolate": "step-after", "color": COLORS[place], "opacity": BAND_OPACITY}
        encoding = {"x": at_x, "y": {**y, "field": "low"}, "y2": {"field": "high"}}
        layers.append({"data": data, "mark": {**band, "aria": False}, "encoding": encoding})
    line = {
        "type": "line",
        "interpolate": "step-after",
        "color": COLORS[place],
        "strokeWidth": 2.5,
        "strokeDash": DASHES[place],
        "aria": False,
    }
    at_y = {**y, "field": "mean"}
    layers.append({"data": data, "mark": line, "encoding": {"x": at_x, "y": at_y}})
    dot = {"type": "point", "filled": True, "opacity": 1, "size": 45, "color": COLORS[place]}
    layers.append({"data": data, "mark": dot, "encoding": {"x": at_x, "y": at_y, "description": TIP}})
    return layers


def _intervals(rows: Sequence[Spec], title: str, format_: str, zero: float | None, summary: str) -> str:
    """Return one line for each row: a dot at its value, a bar over its interval."""
    ends = [row[name] for row in rows for name in ("low", "high")] + ([zero] if zero is not None else [])
    low, high = 5 * math.floor(min(ends) / 5), 5 * math.ceil(max(ends) / 5)
    axis = {"title": title, "tickCount": 6}
    axis |= {"labelExpr": format_} if zero is not None else {"format": format_}
    x = {
        "type": "quantitative",
        "scale": {"domain": [low, high if high > low else low + 5], "nice": False},
        "axis": axis,
    }
    # Names stand above their bars: beside them they would leave no room on a phone.
    y = {"field": "name", "type": "nominal", "sort": [row["name"] for row in rows], "axis": None}
    color = {"field": "color", "type": "nominal", "scale": None, "legend": None}
    shared = {"y": y, "color": color, "description": TIP}
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "opacity": 0.45, "strokeWidth": 8},
            "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, **shared},
        },
        {
            "mark": {"type": "point", "filled": True, "opacity": 1, "size": 150},
            "encoding": {"x": {**x, "field": "value"}, **shared},
        },
        {
            "mark": {"type": "text", "align": "left", "dy": -NAME_ABOVE, "aria": False},
            "encoding": {"x": {"value": 2}, "y": y, "text": {"field": "name"}},
        },
    ]
    if zero is not None:
        rule = {"type": "rule", "color": "var(--chart-axis)", "strokeWidth": 1.5, "aria": False}
        layers.insert(0, {"mark": rule, "encoding": {"x": {**x, "datum": zero}}})
    spec = {"width": NARROW, "height": ROW * len(rows), "data": {"values": list(rows)}, "layer": layers}
    return draw(spec, f"{summary}: {'; '.join(row['tip'] for row in rows)}")
