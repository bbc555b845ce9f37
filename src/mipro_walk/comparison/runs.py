"""One run of one method, as it is kept: what it chose, how that scored on test, and what it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from mipro_walk.comparison.intervals import Scores
from mipro_walk.comparison.methods import Counted, Found
from mipro_walk.types import Candidate, Demonstration, Usage, fingerprint

ROLES = ("policy", "meta")


@dataclass(frozen=True, slots=True)
class ValScores:
    """Scores of one prompt on val by seed. Both hashes tell which prompts share a part."""

    instruction_hash: str
    demos_hash: str
    scores: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run. Scores align with the test rows of the comparison.

    Attributes:
        rows_hash: which rows, question and model.
        rollouts: asked before the final test; what counts against ``budget``.
        proposals: asked of the meta-model.
        search: by role, what the search would have consumed alone; answers that another run had paid are in it.
        made: by role, what this run really consumed, the final test included.
        seconds: wall time since it was started last.
        trace: ``(rollouts, prompt hash)``: what the method would have returned after so many.
        val: what it saw on val, by prompt hash; unknown outcomes left out.
    """

    method: str
    rng_seed: int
    rows_hash: str
    budget: int
    winner: Candidate
    scores: Scores
    baseline_scores: Scores
    rollouts: int
    proposals: int
    search: Mapping[str, Usage]
    made: Mapping[str, Usage]
    seconds: float
    trace: tuple[tuple[int, str], ...]
    val: Mapping[str, ValScores]

    @property
    def name(self) -> str:
        """``mipro:0``."""
        return run_name(self.method, self.rng_seed)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data that :func:`read_run` reads back."""
        plain: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["winner"] = asdict(self.winner)
        plain["search"], plain["made"] = (
            {r: asdict(u) for r, u in usage.items()} for usage in (self.search, self.made)
        )
        plain["val"] = {
            prompt: {**asdict(found), "scores": {str(seed): score for seed, score in found.scores.items()}}
            for prompt, found in self.val.items()
        }
        return plain


@dataclass(frozen=True, slots=True)
class MissingRun:
    """A run that was asked for and is not there, with the reason. ``failed`` tells that it was tried."""

    method: str
    rng_seed: int
    reason: str
    failed: bool


def run_name(method: str, rng_seed: int) -> str:
    """Return how a run is called: ``mipro:0``."""
    return f"{method}:{rng_seed}"


def read_run(plain: Mapping[str, Any]) -> Run:
    """Return the run that ``as_dict`` wrote."""
    winner = plain["winner"]
    return Run(
        **{
            **plain,
            "winner": Candidate(winner["instruction"], tuple(Demonstration(**demo) for demo in winner["demos"])),
            "scores": tuple(plain["scores"]),
            "baseline_scores": tuple(plain["baseline_scores"]),
            "search": {role: Usage(**usage) for role, usage in plain["search"].items()},
            "made": {role: Usage(**usage) for role, usage in plain["made"].items()},
            "trace": tuple((rollouts, prompt) for rollouts, prompt in plain["trace"]),
            "val": {
                prompt: ValScores(**{**found, "scores": {int(s): score for s, score in found["scores"].items()}})
                for prompt, found in plain["val"].items()
            },
        }
    )


def val_scores(counted: Counted) -> dict[str, ValScores]:
    """Return what a run saw on val by prompt hash."""
    return {
        candidate.prompt_hash: ValScores(
            fingerprint(candidate.instruction),
            fingerprint([[demo.query, demo.label] for demo in candidate.demos]),
            {seed: score for seed, score in scores.items() if score is not None},
        )
        for candidate, scores in counted.val.items()
    }


def short_trace(found: Found) -> tuple[tuple[int, str], ...]:
    """Return the trace by prompt hashes, without the steps that change nothing; its end is kept."""
    kept: list[tuple[int, str]] = []
    for rollouts, candidate in found.trace:
        if not kept or kept[-1][1] != candidate.prompt_hash:
            kept.append((rollouts, candidate.prompt_hash))
    if kept and kept[-1][0] != found.rollouts:
        kept.append((found.rollouts, kept[-1][1]))
    return tuple(kept)
