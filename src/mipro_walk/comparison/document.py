"""``comparison.json`` of several methods: what stands in the table and on the page, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mipro_walk.comparison.curves import Curve, curves, level_of_half
from mipro_walk.comparison.intervals import Interval, over_runs, wilson
from mipro_walk.comparison.methods import Method
from mipro_walk.comparison.pairs import Pair, pair_of
from mipro_walk.comparison.readability import figures_of
from mipro_walk.comparison.runs import MissingRun, Run
from mipro_walk.types import Candidate, Usage

SCHEMA_VERSION = 1
KIND = "mipro_walk.comparison"
BASELINE_TITLE = "the baseline"
CURVE_RULER = (
    "Each line follows the prompt that a method would have returned after so many rollouts, by one ruler for all: the "
    "pooled estimate over every rollout on val of all runs, made afterwards."
)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """What all runs share."""

    task: str
    baseline: Candidate
    source: str
    rows: Mapping[str, int]
    budget: int
    models: Mapping[str, Mapping[str, Any]]
    job_id: str
    rng_seeds: tuple[int, ...]


def methods_document(
    setting: Setting, methods: Sequence[Method], runs: Sequence[Run], missing: Sequence[MissingRun]
) -> Document:
    """Return the document of a comparison of methods.

    A method without any finished run has an entry that says so. The first method with a run is held against each other.
    """
    found = curves(runs)
    half = level_of_half(found)
    entries = [
        _entry(method, [run for run in runs if run.method == method.name], missing, found.get(method.name), half)
        for method in methods
    ]
    pairs = [pair for pair in _pairs(methods, runs) if pair is not None]
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "mode": "methods",
        "job_id": setting.job_id,
        "task": setting.task,
        "data": {"source": setting.source, "rows": dict(setting.rows)},
        "budget": setting.budget,
        "rng_seeds": list(setting.rng_seeds),
        "models": {role: dict(model) for role, model in setting.models.items()},
        "baseline": prompt_of(setting.baseline),
        "entries": entries,
        "pairs": [pair.as_dict() for pair in pairs],
        "unpaired": None,
        "curves": {"ruler": CURVE_RULER, "half_way": half},
        "warnings": _warnings(methods, runs, missing, pairs),
    }


def prompt_of(candidate: Candidate) -> Document:
    """Return a prompt with its size and readability."""
    return {
        "instruction": candidate.instruction,
        "demonstrations": [{"query": demo.query, "label": demo.label} for demo in candidate.demos],
        "figures": figures_of(candidate).as_dict(),
    }


def gain_of(pair: Pair | None) -> Document | None:
    """Return a gain over the baseline as plain data."""
    if pair is None:
        return None
    return {**pair.difference.as_dict(), "verdict": pair.verdict, "n": pair.n, "excluded": pair.excluded}


def score_of(interval: Interval, n: int, unknown: int) -> Document:
    """Return a score on test with the rows it stands for."""
    return {**interval.as_dict(), "split": "test", "n": n, "unknown": unknown}


def _entry(
    method: Method, runs: Sequence[Run], missing: Sequence[MissingRun], curve: Curve | None, half: float | None
) -> Document:
    absent = [
        {"rng_seed": m.rng_seed, "reason": m.reason, "failed": m.failed} for m in missing if m.method == method.name
    ]
    head: Document = {"name": method.name, "title": method.title, "summary": method.summary, "missing": absent}
    if not runs:
        return {**head, "score": None, "gain": None, "runs": []}
    gain = _against_baseline(method.title, runs)
    details = [_run(run) for run in runs]
    return {
        **head,
        "score": _score(runs),
        "gain": gain_of(gain),
        "prompt": _mean_figures([detail["prompt"]["figures"] for detail in details]),
        "rollouts": _mean([run.rollouts for run in runs]),
        "proposals": _mean([run.proposals for run in runs]),
        "calls_made": sum(part.calls for run in runs for part in run.made.values()),
        "cost_usd": {
            "search": _mean_known([_cost(run.search) for run in runs]),
            "made": _sum_known([_cost(r.made) for r in runs]),
        },
        "per_point": per_point(
            gain, _mean([run.rollouts for run in runs]), _mean_known([_cost(r.search) for r in runs])
        ),
        "curve": None if curve is None else curve.as_dict(),
        "half_way_after": None if curve is None or half is None else curve.first_at(half),
        "runs": details,
    }


def per_point(gain: Pair | None, rollouts: float, usd: float | None) -> Document | None:
    """Return rollouts and dollars of the search for each point gained; ``None`` unless a gain is proven."""
    if gain is None or gain.verdict != "better":
        return None
    points = 100 * gain.difference.value
    return {"rollouts": rollouts / points, "usd": None if usd is None else usd / points}


def _run(run: Run) -> Document:
    return {
        "rng_seed": run.rng_seed,
        "score": _score([run]),
        "gain": gain_of(_against_baseline(run.method, [run])),
        "rollouts": run.rollouts,
        "proposals": run.proposals,
        "search": _usage(run.search),
        "made": _usage(run.made),
        "seconds": run.seconds,
        "prompt": prompt_of(run.winner),
    }


def _score(runs: Sequence[Run]) -> Document:
    scores = [run.scores for run in runs]
    unknown = sum(score is None for run in scores for score in run)
    n = sum(any(score is not None for score in row) for row in zip(*scores, strict=True))
    return score_of(over_runs(scores) if len(runs) > 1 and n else wilson(scores[0]), n, unknown)


def _against_baseline(title: str, runs: Sequence[Run]) -> Pair | None:
    if runs[0].method == "baseline":
        return None
    scores = [(run.scores, run.baseline_scores) for run in runs]
    return pair_of(title, BASELINE_TITLE, scores, [run.rng_seed for run in runs])


def _pairs(methods: Sequence[Method], runs: Sequence[Run]) -> list[Pair | None]:
    """Return the first drawn method that has runs against each other one, and against the baseline."""
    by_method = {method.name: {run.rng_seed: run for run in runs if run.method == method.name} for method in methods}
    drawn = [method for method in methods if method.is_drawn and by_method[method.name]]
    if not drawn:
        return []
    first = by_method[drawn[0].name]
    pairs = [_against_baseline(drawn[0].title, list(first.values()))]
    for method in drawn[1:]:
        second = by_method[method.name]
        common = [seed for seed in first if seed in second]
        scores = [(first[seed].scores, second[seed].scores) for seed in common]
        pairs.append(pair_of(drawn[0].title, method.title, scores, common))
    return pairs


def _warnings(
    methods: Sequence[Method], runs: Sequence[Run], missing: Sequence[MissingRun], pairs: Sequence[Pair]
) -> list[str]:
    titles = {method.name: method.title for method in methods}
    found = [f"{titles[m.method]}, rng seed {m.rng_seed}, is left out: {m.reason}" for m in missing]
    if excluded := sum(pair.excluded for pair in pairs):
        found.append(f"{excluded} pairs of test answers are left out because a call failed")
    seeds = {len(pair.rng_seeds) for pair in pairs}
    if runs and seeds <= {0, 1}:
        found.append("One rng seed: the intervals cover the choice of test rows, not the luck of the search")
    return found


def _usage(usage: Mapping[str, Usage]) -> Document:
    return {role: asdict(part) for role, part in usage.items()}


def _cost(usage: Mapping[str, Usage]) -> float | None:
    return _sum_known([part.cost_usd for part in usage.values()])


def _sum_known(values: Sequence[float | None]) -> float | None:
    """Return the sum; ``None`` if a part of it is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _mean_known(values: Sequence[float | None]) -> float | None:
    total = _sum_known(values)
    return None if total is None else total / len(values)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_figures(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(_mean([found[name] for found in figures]), 1) for name in figures[0]}
