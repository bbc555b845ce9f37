"""The progression of a search: every trial's own score, the pooled estimates, leader, baseline and finalists."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mipro_walk.report.charts.shared import TIP, WIDTH, Document, Spec, has_estimate, interval, key_of, number
from mipro_walk.report.charts.svg import draw

HEIGHT = 300
MANY_TRIALS = 120
"""From here on marks are small and intervals faint, so that a thousand trials stay a picture."""


def progression(history: Document) -> str | None:
    """Return the chart of all trials, ``None`` if there are none with a score.

    Open circles are a trial's own score, diamonds the pooled estimate with its interval, the line is the leader's
    mean at that time, the dashed line the baseline; rings are the last trials of the finalists.
    """
    trials = history.get("iterations") or []
    if not any(t.get("minibatch_score") is not None or has_estimate(t) for t in trials):
        return None
    count = len(trials)
    x = {"scale": {"domain": [0.5, count + 0.5], "nice": False}, "axis": _trial_axis(count, history)}
    y = {"scale": {"domain": _score_domain(history), "nice": False, "clamp": True}, "axis": _score_axis()}
    layers = [
        *_rung_bands(trials),
        *_baseline_rule(history, count),
        *_leader_line(trials),
        *_estimates(trials, count),
        *_own_scores(trials, count),
        *_finalist_rings(history, trials, count),
    ]
    for layer in layers:
        encoding = layer["encoding"]
        encoding["x"] = {**encoding["x"], **x}
        if "field" in encoding.get("y", {}):
            encoding["y"] = {**encoding["y"], **y}
    return draw({"width": WIDTH, "height": HEIGHT, "layer": layers}, _progression_summary(history, trials))


def _trial_axis(count: int, history: Document) -> Spec:
    step = max(1, math.ceil(count / 14))
    nice = next(n for base in (1, 10, 100, 1000, 10**6) for n in (base, 2 * base, 5 * base) if n >= step)
    ticks = [1, *range(nice, count + 1, nice)] if nice > 1 else list(range(1, count + 1))
    return {
        "title": "member of the population" if history.get("algorithm") == "gepa" else "trial",
        "values": ticks,
        "format": "d",
        "grid": False,
    }


def _score_axis() -> Spec:
    return {"title": "score on val rows", "format": ".1f", "tickCount": 6}


def _score_domain(history: Document) -> list[float]:
    """Return limits on tenths that hold every score and interval."""
    found = [(history.get("baseline") or {}).get("score")]
    for trial in history.get("iterations") or []:
        found += [trial.get("minibatch_score"), trial.get("best_score")]
        found += interval(trial) if has_estimate(trial) else ()
    scores = [float(score) for score in found if score is not None]
    low, high = math.floor(min(scores) * 10 + 1e-9) / 10, math.ceil(max(scores) * 10 - 1e-9) / 10
    return [low, high if high > low else low + 0.1]


def _rung_bands(trials: Sequence[Document]) -> list[Spec]:
    rungs: dict[int, list[int]] = {}
    for place, trial in enumerate(trials, start=1):
        if trial.get("rung") is not None:
            rungs.setdefault(int(trial["rung"]), []).append(place)
    if len(rungs) < 2:
        return []
    rows = [
        {
            "from": min(members) - 0.5,
            "to": max(members) + 0.5,
            "shade": rung % 2,
            "middle": (min(members) + max(members)) / 2,
            "name": f"rung {rung + 1}" if len(members) / len(trials) > 0.08 else "",
        }
        for rung, members in sorted(rungs.items())
    ]
    shaded = [row for row in rows if row["shade"]]
    return [
        {
            "data": {"values": shaded},
            "mark": {"type": "rect", "color": "var(--chart-grid)", "opacity": 0.45, "aria": False},
            "encoding": {"x": number("from"), "x2": {"field": "to"}},
        },
        {
            "data": {"values": [row for row in rows if row["name"]]},
            "mark": {"type": "text", "baseline": "top", "dy": 4, "color": "var(--chart-text)", "aria": False},
            "encoding": {"x": number("middle"), "y": {"value": 0}, "text": {"field": "name"}},
        },
    ]


def _baseline_rule(history: Document, count: int) -> list[Spec]:
    baseline = history.get("baseline") or {}
    if baseline.get("score") is None:
        return []
    tip = f"Baseline: {baseline['score']:.2f} (n={baseline['n']})"
    return [
        {
            "data": {"values": [{"from": 0.5, "to": count + 0.5, "score": baseline["score"], "tip": tip}]},
            "mark": {"type": "rule", "color": "var(--chart-baseline)", "strokeDash": [5, 4], "strokeWidth": 2},
            "encoding": {"x": number("from"), "x2": {"field": "to"}, "y": number("score"), "description": TIP},
        }
    ]


def _leader_line(trials: Sequence[Document]) -> list[Spec]:
    known = [(i, t["best_score"]) for i, t in enumerate(trials, start=1) if t.get("best_score") is not None]
    if not known:
        return []
    # A step begins and ends half a trial before and after its points; only where it changes are points needed.
    steps = [
        {"trial": trial, "score": score}
        for order, (trial, score) in enumerate(known)
        if order in (0, len(known) - 1) or score != known[order - 1][1]
    ]
    return [
        {
            "data": {"values": steps},
            "mark": {
                "type": "line",
                "interpolate": "step-after",
                "color": "var(--chart-leader)",
                "strokeWidth": 2,
                "aria": False,
            },
            "encoding": {"x": number("trial"), "y": number("score")},
        }
    ]


def _estimates(trials: Sequence[Document], count: int) -> list[Spec]:
    rows = []
    for place, trial in enumerate(trials, start=1):
        if has_estimate(trial):
            low, high = interval(trial)
            tip = f"{_name(place, trial)}: pooled {trial['estimate']:.2f} ({low:.2f} to {high:.2f})"
            rows.append({"trial": place, "low": low, "high": high, "estimate": trial["estimate"], "tip": tip})
    color, many = "var(--chart-trial)", count > MANY_TRIALS
    return [
        {
            "data": {"values": rows},
            "mark": {"type": "rule", "color": color, "aria": False, "opacity": 0.25 if many else 0.7},
            "encoding": {"x": number("trial"), "y": number("low"), "y2": {"field": "high"}},
        },
        {
            "data": {"values": rows},
            "mark": {
                "type": "point",
                "shape": "diamond",
                "filled": True,
                "opacity": 1,
                "color": color,
                "size": 10 if many else 70,
            },
            "encoding": {"x": number("trial"), "y": number("estimate"), "description": TIP},
        },
    ]


def _own_scores(trials: Sequence[Document], count: int) -> list[Spec]:
    layers = []
    for is_startup, color in ((True, "var(--chart-startup)"), (False, "var(--chart-trial)")):
        rows = [
            {
                "trial": place,
                "score": trial["minibatch_score"],
                "tip": f"{_name(place, trial)}: own score {trial['minibatch_score']:.2f} (n={trial['num_seeds']})"
                + (", start-up" if is_startup else ""),
            }
            for place, trial in enumerate(trials, start=1)
            if trial.get("minibatch_score") is not None and bool(trial.get("startup")) == is_startup
        ]
        size, width = (9, 0.8) if count > MANY_TRIALS else (45, 1.5)
        mark = {
            "type": "point",
            "shape": "circle",
            "filled": False,
            "color": color,
            "size": size,
            "strokeWidth": width,
            "opacity": 1,
        }
        encoding = {"x": number("trial"), "y": number("score"), "description": TIP}
        if rows:
            layers.append({"data": {"values": rows}, "mark": mark, "encoding": encoding})
    return layers


def _finalist_rings(history: Document, trials: Sequence[Document], count: int) -> list[Spec]:
    last = {key_of(trial): (place, trial) for place, trial in enumerate(trials, start=1)}
    rows = []
    for place, finalist in enumerate(history.get("finalists") or []):
        found = last.get(key_of(finalist))
        if found is None or finalist.get("estimate") is None or not has_estimate(found[1]):
            continue
        who = "the winner of the search" if place == 0 else "a finalist"
        tip = f"{_name(*found)}: {who}, pooled {finalist['estimate']:.2f}"
        rows.append({"trial": found[0], "score": found[1]["estimate"], "tip": tip, "width": 3 if place == 0 else 1.5})
    mark = {"type": "point", "shape": "circle", "filled": False, "color": "var(--chart-final)", "opacity": 1}
    encoding = {
        "x": number("trial"),
        "y": number("score"),
        "description": TIP,
        "strokeWidth": {"field": "width", "type": "quantitative", "scale": None},
    }
    return [{"data": {"values": rows}, "mark": {**mark, "size": 220}, "encoding": encoding}] if rows else []


def _progression_summary(history: Document, trials: Sequence[Document]) -> str:
    best = max((t["estimate"] for t in trials if has_estimate(t)), default=None)
    start = (history.get("baseline") or {}).get("score")
    who = "members of the population" if history.get("algorithm") == "gepa" else "trials"
    parts = [f"Scores of {len(trials)} {who} on val rows"]
    if start is not None:
        parts.append(f"baseline {start:.2f}")
    if best is not None:
        parts.append(f"highest pooled estimate {best:.2f}")
    return "; ".join(parts) + ". The table below holds every number."


def _name(place: int, trial: Document) -> str:
    if "demo_set" not in trial:
        return f"Instruction {trial['instruction']}"
    return f"Trial {place} (I{trial['instruction']}, D{trial['demo_set']})"
