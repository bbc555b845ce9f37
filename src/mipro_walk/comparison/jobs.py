"""``comparison.json`` of two finished jobs: paired if both were tested on the same rows, else side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mipro_walk.comparison.document import (
    BASELINE_TITLE,
    KIND,
    SCHEMA_VERSION,
    Document,
    gain_of,
    per_point,
    prompt_of,
    score_of,
)
from mipro_walk.comparison.intervals import Scores, share_of
from mipro_walk.comparison.pairs import Pair, pair_of
from mipro_walk.errors import ConfigError
from mipro_walk.results import BEST_PROMPT, JOB_METADATA, SCORE_HISTORY
from mipro_walk.types import Candidate, Demonstration

OWN_RULER = (
    "Each line is a job's own estimate of its leader at the time, on its own val rows: it shows when a job found its "
    "prompt, and no difference between the two."
)
SEARCH_PHASES = ("Bootstrap", "Search")


@dataclass(frozen=True, slots=True)
class JobResult:
    """A finished job by its documents. ``name`` is what the user called it: an id or a folder."""

    name: str
    documents: Mapping[str, Mapping[str, Any]]

    @property
    def best(self) -> Mapping[str, Any]:
        """``best_prompt.json``."""
        return self.documents[BEST_PROMPT]

    @property
    def history(self) -> Mapping[str, Any]:
        """``score_history.json``, empty if it is not there."""
        return self.documents.get(SCORE_HISTORY) or {}

    @property
    def metadata(self) -> Mapping[str, Any]:
        """``job_metadata.json``, empty if it is not there."""
        return self.documents.get(JOB_METADATA) or {}

    @property
    def budget(self) -> int | None:
        """Rollouts that the search was allowed."""
        budget = (self.history.get("plan") or {}).get("budget")
        return None if budget is None else int(budget)


def jobs_document(first: JobResult, second: JobResult) -> Document:
    """Return the document of a comparison of two jobs.

    Raises:
        ConfigError: they solve different tasks, or a document is damaged.
    """
    try:
        return _document(first, second)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as exc:
        raise ConfigError(
            f"The result documents are incomplete or damaged: {type(exc).__name__}: {exc}.",
            "Take them from the jobs again: mipro-walk results ID",
        ) from exc


def _document(first: JobResult, second: JobResult) -> Document:
    if first.best["task"] != second.best["task"]:
        raise ConfigError(
            f"{first.name} solves the task {first.best['task']!r}, {second.name} solves {second.best['task']!r}.",
            "Compare two jobs of one task.",
        )
    reason = _why_unpaired(first, second)
    pair = None if reason else _pair(first, second)
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "mode": "jobs",
        "job_id": None,
        "task": first.best["task"],
        "data": {"source": (first.metadata.get("data") or {}).get("source"), "rows": _rows(first)},
        "budget": first.budget if first.budget == second.budget else None,
        "rng_seeds": [],
        "models": {"policy": first.best["model"]},
        "baseline": prompt_of(_candidate(first.best["baseline"])),
        "entries": [_entry(first), _entry(second)],
        "pairs": [] if pair is None else [pair.as_dict()],
        "unpaired": reason or (None if pair else "no test row has an answer of both"),
        "curves": {"ruler": OWN_RULER, "half_way": None},
        "warnings": _warnings(first, second, pair),
    }


def _why_unpaired(first: JobResult, second: JobResult) -> str | None:
    """Return in words why the two cannot be held against each other row by row; ``None`` if they can."""
    for job in (first, second):
        if job.best["score"] is None:
            return f"{job.name} has no final test"
        if not job.history.get("test_rows"):
            return f"the files of {job.name} do not hold the scores of its test rows"
    ours, theirs = (job.history["test_rows"] for job in (first, second))
    if ours["rows_hash"] != theirs["rows_hash"]:
        common = len(set(ours["seeds"]) & set(theirs["seeds"]))
        same_seeds = f", although {common} seeds are the same" if common else ""
        return f"they were tested on different rows ({len(ours['seeds'])} and {len(theirs['seeds'])}){same_seeds}"
    return None


def _pair(first: JobResult, second: JobResult) -> Pair | None:
    ours, theirs = (job.history["test_rows"]["winner"] for job in (first, second))
    return pair_of(first.name, second.name, [(ours, theirs)])


def _entry(job: JobResult) -> Document:
    test = job.best["score"]
    prompt = prompt_of(_candidate(job.best["winner"]))
    gain = _gain(job)
    cost = _cost(job)
    rollouts = job.history.get("rollouts")
    return {
        "name": job.name,
        "title": job.name,
        "summary": _summary(job),
        "missing": [],
        "score": None if test is None else score_of(share_of(test["winner"], test["n"]), test["n"], test["excluded"]),
        "gain": gain_of(gain),
        "prompt": prompt["figures"],
        "rollouts": rollouts,
        "proposals": None,
        "calls_made": sum(int(part["calls"]) for part in (job.metadata.get("usage") or {}).values()) or None,
        "cost_usd": cost,
        "per_point": None if rollouts is None else per_point(gain, rollouts, cost["search"]),
        "curve": _curve(job),
        "half_way_after": None,
        "runs": [
            {
                "rng_seed": job.metadata.get("rng_seed"),
                "score": None,
                "gain": gain_of(gain),
                "rollouts": rollouts,
                "prompt": prompt,
            }
        ],
    }


def _gain(job: JobResult) -> Pair | None:
    rows = job.history.get("test_rows")
    if not rows:
        return None
    scores: list[tuple[Scores, Scores]] = [(rows["winner"], rows["baseline"])]
    return pair_of(job.name, BASELINE_TITLE, scores)


def _cost(job: JobResult) -> Document:
    """Return dollars of the search and of everything; ``None`` where a price is not known."""
    usage = job.metadata.get("usage") or {}
    phases = job.metadata.get("usage_by_phase") or {}
    return {
        "search": _dollars([phases[name] for name in SEARCH_PHASES if name in phases]),
        "made": _dollars(list(usage.values())),
    }


def _dollars(parts: list[Mapping[str, Any]]) -> float | None:
    costs = [part["cost_usd"] for part in parts]
    return None if not costs or None in costs else float(sum(costs))


def _curve(job: JobResult) -> Document:
    """Return the job's own estimate of its leader after each trial."""
    points: list[list[float]] = []
    settled = 0
    leader: tuple[int, int] | None = None
    estimates: dict[tuple[int, int], float] = {}
    for trial in job.history.get("iterations", []):
        if trial.get("estimate") is not None:  # GEPA has none: its leader has a mean on val
            estimates[trial["instruction"], trial["demo_set"]] = trial["estimate"]
        best = (trial["best_instruction"], trial.get("best_demo_set", 0))
        if best != leader:
            leader, settled = best, trial["rollouts"]
        value = estimates.get(best, trial["best_score"])
        points.append([trial["rollouts"], value, value, value])
    return {"points": points, "settled": [settled] if points else []}


def _summary(job: JobResult) -> str:
    model = job.best["model"]
    return f"{model.get('provider')}/{model.get('model')}, recommends the {job.best['recommendation']}"


def _rows(job: JobResult) -> dict[str, int]:
    return dict((job.metadata.get("data") or {}).get("rows") or {})


def _candidate(prompt: Mapping[str, Any]) -> Candidate:
    return Candidate(prompt["instruction"], tuple(Demonstration(**demo) for demo in prompt["demonstrations"]))


def _warnings(first: JobResult, second: JobResult, pair: Pair | None) -> list[str]:
    found = []
    if first.budget != second.budget:
        found.append(
            f"Different budgets: {first.name} had {first.budget} rollouts, {second.name} had {second.budget}; "
            "a difference may come from that"
        )
    if first.best["model"] != second.best["model"]:
        found.append(f"Different models: {_model(first)} and {_model(second)}; a difference may come from that")
    if first.best["baseline"] != second.best["baseline"]:
        found.append("The jobs started from different prompts; each gain is over its own baseline")
    for job in (first, second):
        if job.best["recommendation"] == "baseline":
            found.append(f"{job.name} recommends its baseline: the prompt it found, shown here, was not proven better")
    if pair is not None and pair.excluded:
        found.append(f"{pair.excluded} pairs of test answers are left out because a call failed")
    return found


def _model(job: JobResult) -> str:
    model = dict(job.best["model"])
    name = f"{model.pop('provider', '?')}/{model.pop('model', '?')}"
    return f"{name} ({', '.join(f'{key} {value}' for key, value in model.items())})"
