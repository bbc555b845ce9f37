"""What a run leaves: one record for each trial, the final test, and everything that was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mipro_walk.core.ablation import Ablation
from mipro_walk.core.bootstrap import Evidence
from mipro_walk.core.pinned import PinnedCheck
from mipro_walk.core.plan import Plan
from mipro_walk.core.scoreboard import Entry, Scoreboard
from mipro_walk.core.search_space import BASELINE, SearchSpace
from mipro_walk.core.splits import SplitReport
from mipro_walk.core.statistics import PairedComparison
from mipro_walk.types import Candidate, Outcome


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial: what was asked, on which rows, and what was known afterwards."""

    iteration: int
    rung: int
    key: tuple[int, int]
    seeds: tuple[int, ...]
    score: float | None
    n: int
    unknown: int
    status: str
    is_startup: bool
    estimate: float | None
    estimate_sd: float | None
    best_key: tuple[int, int]
    best_score: float
    best_n: int
    rollouts: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, with the names of the published events."""
        return {
            "iteration": self.iteration,
            "trial": 0,
            "rung": self.rung,
            "instruction": self.key[0],
            "demo_set": self.key[1],
            "minibatch_score": self.score,
            "num_seeds": self.n,
            "unknown": self.unknown,
            "seeds": list(self.seeds),
            "status": self.status,
            "startup": self.is_startup,
            "estimate": self.estimate,
            "estimate_sd": self.estimate_sd,
            "best_instruction": self.best_key[0],
            "best_demo_set": self.best_key[1],
            "best_score": self.best_score,
            "best_n": self.best_n,
            "cumulative_trials": self.iteration + 1,
            "rollouts": self.rollouts,
        }


@dataclass(frozen=True, slots=True)
class TestResult:
    """The final test. Outcomes align with ``seeds``; the comparison leaves unknown pairs out."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    seeds: tuple[int, ...]
    baseline: tuple[Outcome, ...]
    winner: tuple[Outcome, ...]
    comparison: PairedComparison


@dataclass(frozen=True, slots=True)
class OptimizationResult:
    """Everything a run found. ``recommended`` is the baseline unless the winner is proven better.

    ``finalists`` are in their final order, the winner first. ``data`` says which rows were used and which dropped.
    ``ablation`` is ``None`` if the settings leave it out, ``pinned`` if no row is pinned or nothing was found.
    """

    plan: Plan
    space: SearchSpace
    trials: Sequence[TrialRecord]
    board: Scoreboard
    finalists: tuple[Entry, ...]
    winner_key: tuple[int, int]
    test: TestResult | None
    stop_reason: str
    rollouts: int
    refused: Counter[str]
    evidence: Evidence
    data: SplitReport
    ablation: Ablation | None = None
    pinned: PinnedCheck | None = None

    @property
    def baseline(self) -> Candidate:
        """The candidate the run started from."""
        return self.space.candidate(BASELINE)

    @property
    def winner(self) -> Candidate:
        """The candidate the search chose."""
        return self.space.candidate(self.winner_key)

    @property
    def recommendation(self) -> str:
        """``"winner"`` if the test shows it better or there was no test, else ``"baseline"``.

        A winner that breaks a pinned row, or of which that is not known, is not recommended.
        """
        if self.pinned is not None and not self.pinned.holds:
            return "baseline"
        if self.test is None:
            return "winner"
        return "winner" if self.test.comparison.verdict == "better" else "baseline"

    @property
    def recommended(self) -> Candidate:
        """The candidate to use."""
        return self.winner if self.recommendation == "winner" else self.baseline
