"""The map of a search: what is known of each pair of instruction and demonstration set that was tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mipro_walk.counting import counted
from mipro_walk.report.charts.shared import TIP, WIDTH, Document, Spec, has_estimate, key_of
from mipro_walk.report.charts.svg import draw

HEAT_STEPS = 9
DARK_FROM = 6
"""The first step of the scale that takes the other text colour."""
MIN_CELL, MAX_CELL_WIDTH, MAX_CELL_HEIGHT = 4, 52, 28
TEXT_CELL_WIDTH, TEXT_CELL_HEIGHT = 34, 17
MAX_HEIGHT = 900
LABEL_ROOM = 15


@dataclass(frozen=True, slots=True)
class Cell:
    """What is known of one candidate: its last pooled estimate, or the mean of its last trial where there is none."""

    instruction: int
    demo_set: int
    estimate: float
    n: int
    trials: int


def cells(history: Document) -> list[Cell]:
    """Return the candidates that have been scored, in the order of their indices."""
    last: dict[tuple[int, int], Document] = {}
    rows: dict[tuple[int, int], int] = {}
    times: dict[tuple[int, int], int] = {}
    for trial in history.get("iterations") or []:
        key = key_of(trial)
        rows[key] = rows.get(key, 0) + int(trial.get("num_seeds") or 0)
        times[key] = times.get(key, 0) + 1
        last[key] = trial
    found = []
    for key, trial in last.items():
        score = trial["estimate"] if has_estimate(trial) else trial.get("minibatch_score")
        if score is not None:
            found.append(Cell(*key, float(score), rows[key], times[key]))
    return sorted(found, key=lambda cell: (cell.instruction, cell.demo_set))


def heat_map(history: Document) -> str | None:
    """Return the map of instructions and demo sets, best on top and left; ``None`` for fewer than two candidates."""
    known = cells(history)
    if len(known) < 2:
        return None
    rows = _best_first(known, "instruction")
    columns = _best_first(known, "demo_set")
    width = min(MAX_CELL_WIDTH, max(MIN_CELL, WIDTH / len(columns)))
    height = min(MAX_CELL_HEIGHT, max(MIN_CELL, MAX_HEIGHT / len(rows)))
    data = _heat_data(known, _winner_key(history))
    band = {"paddingInner": 0.06, "paddingOuter": 0}
    x = {
        "field": "demo_set",
        "type": "nominal",
        "scale": {"domain": [f"D{index}" for index in columns], **band},
        "axis": _index_axis("demo set", [f"D{index}" for index in columns], width, 2.2),
    }
    y = {
        "field": "instruction",
        "type": "nominal",
        "scale": {"domain": [f"I{index}" for index in rows], **band},
        "axis": _index_axis("instruction", [f"I{index}" for index in rows], height, 1),
    }
    layers: list[Spec] = [_heat_rects(data, x, y), *_winner_frame(data, x, y)]
    if width >= TEXT_CELL_WIDTH and height >= TEXT_CELL_HEIGHT:
        layers.append(_heat_texts(data, x, y))
    spec = {"width": round(width * len(columns)), "height": round(height * len(rows)), "layer": layers}
    return draw(spec, _heat_summary(known, rows, columns))


def heat_limits(known: Sequence[Cell]) -> tuple[float, float]:
    """Return the ends of the colour scale: the highest estimate, and one that all but a twentieth reach."""
    estimates = sorted(cell.estimate for cell in known)
    return estimates[len(estimates) // 20], estimates[-1]


def _best_first(known: Sequence[Cell], axis: str) -> list[int]:
    """Return the indices of one axis by the mean of their estimates, weighted by rows, highest first."""
    sums: dict[int, tuple[float, float]] = {}
    for cell in known:
        index, weight = getattr(cell, axis), max(1, cell.n)
        total, weights = sums.get(index, (0.0, 0.0))
        sums[index] = (total + cell.estimate * weight, weights + weight)
    return sorted(sums, key=lambda index: (-sums[index][0] / sums[index][1], index))


def _heat_data(known: Sequence[Cell], winner: tuple[int, int] | None) -> list[Spec]:
    low, high = heat_limits(known)
    span = (high - low) or 1.0
    return [
        {
            "instruction": f"I{cell.instruction}",
            "demo_set": f"D{cell.demo_set}",
            "step": max(0, min(HEAT_STEPS - 1, int((cell.estimate - low) / span * HEAT_STEPS))),
            "score": f"{cell.estimate:.2f}"[1:] if cell.estimate < 1 else "1.0",
            "tip": f"Instruction {cell.instruction}, demo set {cell.demo_set}: {cell.estimate:.2f} (n={cell.n})",
            "winner": (cell.instruction, cell.demo_set) == winner,
        }
        for cell in known
    ]


def _index_axis(title: str, labels: Sequence[str], room: float, factor: float) -> Spec:
    step = max(1, math.ceil(LABEL_ROOM * factor / room))
    return {
        "title": title,
        "values": list(labels[::step]),
        "labelAngle": 0,
        "ticks": False,
        "domain": False,
        "orient": "top" if title == "demo set" else "left",
    }


def _heat_rects(data: Sequence[Spec], x: Spec, y: Spec) -> Spec:
    steps = list(range(HEAT_STEPS))
    color = {
        "field": "step",
        "type": "ordinal",
        "scale": {"domain": steps, "range": [f"var(--heat-{step})" for step in steps]},
        "legend": None,
    }
    return {
        "data": {"values": list(data)},
        "mark": {"type": "rect"},
        "encoding": {"x": x, "y": y, "color": color, "description": TIP},
    }


def _winner_frame(data: Sequence[Spec], x: Spec, y: Spec) -> list[Spec]:
    found = [row for row in data if row["winner"]]
    mark = {"type": "rect", "fill": None, "stroke": "var(--chart-final)", "strokeWidth": 3, "aria": False}
    return [{"data": {"values": found}, "mark": mark, "encoding": {"x": x, "y": y}}] if found else []


def _heat_texts(data: Sequence[Spec], x: Spec, y: Spec) -> Spec:
    rows = [{**row, "tone": f"var(--heat-text-{'high' if row['step'] >= DARK_FROM else 'low'})"} for row in data]
    color = {"field": "tone", "type": "nominal", "scale": None}
    return {
        "data": {"values": rows},
        "mark": {"type": "text", "aria": False},
        "encoding": {"x": x, "y": y, "text": {"field": "score"}, "color": color},
    }


def _heat_summary(known: Sequence[Cell], rows: Sequence[int], columns: Sequence[int]) -> str:
    best = max(known, key=lambda cell: cell.estimate)
    return (
        f"Map of {counted(len(known), 'scored candidate')} from {counted(len(rows), 'instruction')} "
        f"and {counted(len(columns), 'demo set')}; "
        f"the highest estimate is {best.estimate:.2f} for instruction {best.instruction} with demo set {best.demo_set}."
    )


def _winner_key(history: Document) -> tuple[int, int] | None:
    finalists = history.get("finalists") or []
    return key_of(finalists[0]) if finalists else None
