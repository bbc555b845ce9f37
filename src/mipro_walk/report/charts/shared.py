"""What charts of the search share: reading trials, and words of Vega-Lite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]
Spec = dict[str, Any]

WIDTH = 920
"""Inner width of the wide charts, in pixels."""
NORMAL_95 = 1.96
TIP: Spec = {"field": "tip"}
"""The description of a mark: it becomes its tooltip."""


def has_estimate(trial: Document) -> bool:
    """Whether a trial has a pooled estimate."""
    return trial.get("estimate") is not None


def interval(trial: Document) -> tuple[float, float]:
    """Return the 95 % interval of a trial's pooled estimate, within 0..1."""
    half = NORMAL_95 * float(trial.get("estimate_sd") or 0.0)
    return max(0.0, trial["estimate"] - half), min(1.0, trial["estimate"] + half)


def key_of(record: Document) -> tuple[int, int]:
    """Return the indices of instruction and demo set; GEPA's trials have no demonstrations, like set 0."""
    return int(record["instruction"]), int(record.get("demo_set") or 0)


def number(field: str) -> Spec:
    """Return the encoding of a quantity."""
    return {"field": field, "type": "quantitative"}
