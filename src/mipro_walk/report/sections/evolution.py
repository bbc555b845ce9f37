"""How did GEPA's search go? Members of the population, steps, what was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mipro_walk.counting import counted
from mipro_walk.report.charts.progression import progression
from mipro_walk.report.sections.tables import columns, instruction_columns, instructions, refused
from mipro_walk.report.text import score

Document = Mapping[str, Any]
LEGEND = (
    ("open", "--chart-trial", "mean on val rows"),
    ("line", "--chart-leader", "mean of the leader at that time"),
    ("dashed", "--chart-baseline", "starting instruction"),
)
CAPTION = (
    "Each mark is an instruction that beat its parent on a few train rows and was then scored on the val rows; the "
    "first one is the starting instruction. These scores flatter: only the final test is unseen. "
    "Point at a mark to read it, or open the table."
)
STEPS_CAPTION = (
    "Minibatch: parent and new instruction on the same n train rows. Val: only of instructions that were accepted."
)
STEP_COLUMNS = (
    "step",
    "parent",
    "instruction",
    "parent on minibatch",
    "minibatch",
    "n",
    "failed",
    "val",
    "val n",
    "leader",
)


def evolution(history: Document) -> dict[str, Any]:
    """Return what is shown of GEPA's ``score_history.json``."""
    steps = history.get("iterations") or []
    return {
        "sentence": _sentence(history, len(steps)),
        "chart": progression(members_as_trials(history)),
        "caption": CAPTION,
        "legend": LEGEND,
        "columns": columns(*STEP_COLUMNS, words=("how it ended",)),
        "trials_name": "steps",
        "trials_caption": STEPS_CAPTION,
        "trials": [_step(step) for step in steps],
        "instruction_columns": instruction_columns("parent", "val", "n"),
        "instructions": instructions(history, _origin),
        "refused": refused(history),
        "finalists": [],
        "map": None,
        "demo_sets": [],
    }


def members_as_trials(history: Document) -> dict[str, Any]:
    """Return a history whose trials are the members of the population, for the chart of a search."""
    trials: list[dict[str, Any]] = []
    best = None
    for found in history.get("instructions") or []:
        val = found.get("val") or {}
        if val.get("score") is None:
            continue
        best = val["score"] if best is None else max(best, val["score"])
        own = {"instruction": found["index"], "minibatch_score": val["score"], "num_seeds": val["n"]}
        trials.append({**own, "best_score": best})
    return {"algorithm": "gepa", "iterations": trials, "baseline": history.get("baseline") or {}}


def _sentence(history: Document, steps: int) -> str:
    found = history.get("instructions") or []
    members = sum(1 for instruction in found if instruction.get("val"))
    front = ", ".join(map(str, history.get("pareto_front") or [])) or "none"
    return (
        f"{counted(steps, 'step')} wrote {counted(len(found) - 1, 'instruction')}, with "
        f"{history.get('rollouts', '?')} of {(history.get('plan') or {}).get('budget', '?')} rollouts; "
        f"{members - 1} joined the starting one in the population. On the Pareto front, "
        f"best on at least one val row: {front}. It ended because: {history.get('stop_reason') or 'unknown'}."
    )


def _step(step: Document) -> list[Any]:
    return [
        step["iteration"] + 1,
        step["parent"],
        "" if step.get("instruction") is None else step["instruction"],
        _asked(step.get("parent_score")),
        _asked(step.get("minibatch_score")),
        step.get("num_seeds") or "",
        step.get("unknown") or 0,
        _asked(step.get("val_score")),
        step.get("val_n") or "",
        score(step.get("best_score")),
        step.get("status"),
    ]


def _origin(instruction: Document) -> tuple[Any, ...]:
    parent, val = instruction.get("parent"), instruction.get("val") or {}
    return "" if parent is None else parent, _asked(val.get("score")), val.get("n", "")


def _asked(value: float | None) -> str:
    """Return a score; nothing where nobody was asked."""
    return "" if value is None else score(value)
