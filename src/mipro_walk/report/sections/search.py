"""How did the search go? Trials, finalists, the map of candidates, what was proposed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mipro_walk.counting import counted
from mipro_walk.report.charts.heat_map import Cell, cells, heat_limits, heat_map
from mipro_walk.report.charts.progression import progression
from mipro_walk.report.charts.shared import has_estimate, interval
from mipro_walk.report.sections.tables import columns, instruction_columns, instructions, refused
from mipro_walk.report.text import score, shortened

Document = Mapping[str, Any]
LEGEND = (
    ("open", "--chart-startup", "own score of a start-up trial"),
    ("open", "--chart-trial", "own score of a later trial"),
    ("diamond", "--chart-trial", "pooled estimate with 95 % interval"),
    ("line", "--chart-leader", "mean of the leader at that time"),
    ("dashed", "--chart-baseline", "baseline on its first rows"),
    ("ring", "--chart-final", "finalists; the thick ring is the winner"),
)
CAPTION = (
    "A trial's own score stands on few rows and jumps about; the pooled estimate uses every rollout known at that time "
    "and is what candidates are chosen by. Scores of the search flatter: only the final test is unseen. "
    "Point at a mark to read it, or open the table."
)
TRIALS_CAPTION = (
    "Own score: the mean over the n rows that the trial added. Pooled: the estimate of the candidate from everything "
    "known then, with its 95 % interval."
)


def search(history: Document) -> dict[str, Any]:
    """Return what is shown of MIPRO's ``score_history.json``."""
    known = cells(history)
    low, high = heat_limits(known) if known else (0.0, 0.0)
    return {
        "sentence": _sentence(history, known),
        "chart": progression(history),
        "caption": CAPTION,
        "legend": LEGEND,
        "columns": columns(
            "trial",
            "rung",
            "instruction",
            "demo set",
            "own score",
            "n",
            "failed",
            "pooled",
            "interval",
            "leader",
            words=("how",),
        ),
        "trials_name": "trials",
        "trials_caption": TRIALS_CAPTION,
        "trials": [_trial(trial) for trial in history.get("iterations") or []],
        "finalist_columns": columns("instruction", "demo set", "score", "n", "pooled"),
        "finalists": [
            [f["instruction"], f["demo_set"], score(f.get("score")), f.get("n"), score(f.get("estimate"))]
            for f in history.get("finalists") or []
        ],
        "map": heat_map(history),
        "map_caption": "Each cell is a candidate that was tried, with its last pooled estimate; empty places were not "
        "tried. Rows and columns are in the order of their means, best on top and left; the frame marks the winner.",
        "map_low": f"{low:.2f}",
        "map_high": f"{high:.2f}",
        "cell_columns": columns("instruction", "demo set", "estimate", "rows", "trials"),
        "cells": [
            [c.instruction, c.demo_set, f"{c.estimate:.2f}", c.n, c.trials]
            for c in sorted(known, key=lambda c: (-c.estimate, c.instruction, c.demo_set))
        ],
        "instruction_columns": instruction_columns(),
        "instructions": instructions(history),
        "demo_sets": [[s["index"], s["builder"], _rows(s)] for s in history.get("demo_sets") or []],
        "refused": refused(history),
    }


def _sentence(history: Document, known: list[Cell]) -> str:
    trials = history.get("iterations") or []
    plan = history.get("plan") or {}
    rungs = len({trial.get("rung") for trial in trials})
    space = f"{counted(len(history.get('instructions') or []), 'instruction')} and "
    space += counted(len(history.get("demo_sets") or []), "demonstration set")
    return (
        f"{counted(len(trials), 'trial')} in {counted(rungs, 'rung')} scored {counted(len(known), 'candidate')} made "
        f"of {space}, with {history.get('rollouts', '?')} of {plan.get('budget', '?')} rollouts. "
        f"It ended because: {history.get('stop_reason') or 'unknown'}."
    )


def _trial(trial: Document) -> list[Any]:
    low, high = interval(trial) if has_estimate(trial) else (None, None)
    how = "start-up" if trial.get("startup") else "guided"
    if trial.get("status") not in (None, "complete"):
        how += f", {trial['status']}"
    return [
        trial["iteration"] + 1,
        "" if trial.get("rung") is None else trial["rung"] + 1,
        trial["instruction"],
        trial["demo_set"],
        score(trial.get("minibatch_score")),
        trial.get("num_seeds"),
        trial.get("unknown") or 0,
        score(trial.get("estimate")),
        "" if low is None or high is None else f"{low:.2f} to {high:.2f}",
        score(trial.get("best_score")),
        how,
    ]


def _rows(demo_set: Document) -> str:
    seeds = demo_set.get("seeds") or []
    return f"{len(seeds)}: {shortened(', '.join(map(str, seeds)), 200)}" if seeds else "none"
