"""Who had found what after how many rollouts, all methods on one axis.

Every method judges its prompts in a way of its own, on rows of its own choice, so their own figures cannot stand
beside each other. Here one ruler is laid on all of them afterwards: the pooled estimate
(:mod:`mipro_walk.core.pooling`) over every rollout on val of every run. A curve shows, for each number of rollouts, the
estimate of the prompt that the method would have returned then. It costs no call, and it never holds a few rows
against many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mipro_walk.comparison.runs import Run, ValScores
from mipro_walk.core.pooling import Estimate, Observations, pool


@dataclass(frozen=True, slots=True)
class Point:
    """Where the runs of a method are after ``rollouts``: their mean, lowest and highest estimate (0..1)."""

    rollouts: int
    mean: float
    low: float
    high: float

    def as_list(self) -> list[float]:
        """Return plain data: rollouts, mean, low, high."""
        return [self.rollouts, self.mean, self.low, self.high]


@dataclass(frozen=True, slots=True)
class Curve:
    """One method's way. ``settled`` holds, run by run, the rollouts after which its choice changed no more."""

    points: tuple[Point, ...]
    settled: tuple[int, ...]

    @property
    def end(self) -> float | None:
        """The mean estimate of what the runs returned."""
        return self.points[-1].mean if self.points else None

    def first_at(self, level: float) -> int | None:
        """Return the rollouts after which the mean first stood at ``level``; ``None`` if it never did."""
        return next((point.rollouts for point in self.points if point.mean >= level), None)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"points": [point.as_list() for point in self.points], "settled": list(self.settled)}


def hindsight(runs: Sequence[Run]) -> dict[str, Estimate]:
    """Return the pooled estimate of every prompt that any run has scored on val, by prompt hash."""
    merged: dict[str, dict[int, float]] = {}
    parts: dict[str, ValScores] = {}
    for run in runs:
        for prompt, found in run.val.items():
            if found.scores:
                merged.setdefault(prompt, {}).update(found.scores)
                parts[prompt] = found
    prompts = sorted(merged)
    levels = [
        {part: number for number, part in enumerate(sorted({getattr(parts[prompt], name) for prompt in prompts}))}
        for name in ("instruction_hash", "demos_hash")
    ]
    keys = [(levels[0][parts[p].instruction_hash], levels[1][parts[p].demos_hash]) for p in prompts]
    triples = [(c, seed, score) for c, p in enumerate(prompts) for seed, score in sorted(merged[p].items())]
    if not triples:
        return {}
    candidate, seeds, scores = zip(*triples, strict=True)
    rows = np.unique(np.array(seeds, dtype=int), return_inverse=True)[1]
    estimates = pool(Observations(keys, np.array(candidate, dtype=int), rows, np.array(scores, dtype=float)))
    return {prompt: estimates[key] for prompt, key in zip(prompts, keys, strict=True)}


def curves(runs: Sequence[Run]) -> dict[str, Curve]:
    """Return the curve of each method by its name."""
    estimates = {prompt: estimate.mean for prompt, estimate in hindsight(runs).items()}
    methods = dict.fromkeys(run.method for run in runs)
    return {method: _curve([run for run in runs if run.method == method], estimates) for method in methods}


def level_of_half(found: Mapping[str, Curve]) -> float | None:
    """Return the estimate half-way between the lowest start and the highest end; ``None`` if nothing rose."""
    starts = [curve.points[0].mean for curve in found.values() if curve.points]
    ends = [curve.end for curve in found.values() if curve.end is not None]
    if not ends or max(ends) <= min(starts):
        return None
    return (min(starts) + max(ends)) / 2


def _curve(runs: Sequence[Run], estimates: Mapping[str, float]) -> Curve:
    steps = [[(rollouts, estimates[prompt]) for rollouts, prompt in run.trace if prompt in estimates] for run in runs]
    marks = sorted({rollouts for run_steps in steps for rollouts, _ in run_steps})
    points = []
    for mark in marks:
        values = [value for run_steps in steps if (value := _at(run_steps, mark)) is not None]
        if len(values) == len([s for s in steps if s]):  # a mean over some of the runs would jump as others join
            points.append(Point(mark, sum(values) / len(values), min(values), max(values)))
    return Curve(tuple(points), tuple(_settled(run) for run in runs))


def _at(steps: Sequence[tuple[int, float]], mark: int) -> float | None:
    return next((value for rollouts, value in reversed(steps) if rollouts <= mark), None)


def _settled(run: Run) -> int:
    last = run.trace[-1][1]
    settled = run.rollouts
    for rollouts, prompt in reversed(run.trace):
        if prompt != last:
            break
        settled = rollouts
    return settled
