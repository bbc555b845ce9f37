"""What a run leaves: one record for each trial, the final test, and everything that was found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from mipro_walk.core.ablation import Ablation
from mipro_walk.core.bootstrap import Evidence
from mipro_walk.core.pinned import PinnedCheck
from mipro_walk.core.plan import Plan, SearchPlan
from mipro_walk.core.scoreboard import Entry, Scoreboard
from mipro_walk.core.search_space import DemoSet, Key, SearchSpace, by_stage, key_as_dict
from mipro_walk.core.settings import AlgorithmName
from mipro_walk.core.splits import SplitReport
from mipro_walk.core.statistics import PairedComparison
from mipro_walk.types import Candidate, Outcome


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial: what was asked, on which rows, and what was known afterwards."""

    iteration: int
    rung: int
    key: Key
    seeds: tuple[int, ...]
    score: float | None
    n: int
    unknown: int
    status: str
    is_startup: bool
    estimate: float | None
    estimate_sd: float | None
    best_key: Key
    best_score: float
    best_n: int
    rollouts: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, with the names of the published events."""
        return {
            "iteration": self.iteration,
            "trial": 0,
            "rung": self.rung,
            **key_as_dict(self.key),
            "minibatch_score": self.score,
            "num_seeds": self.n,
            "unknown": self.unknown,
            "seeds": list(self.seeds),
            "status": self.status,
            "startup": self.is_startup,
            "estimate": self.estimate,
            "estimate_sd": self.estimate_sd,
            **key_as_dict(self.best_key, "best_"),
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
class SearchScore:
    """What the search measured of a candidate on ``val``: a flattering number. ``mean`` is 0..1."""

    mean: float | None
    n: int


class RunResult(ABC):
    """What a run of any algorithm found. ``recommended`` is the baseline unless the winner is proven better.

    Attributes:
        plan: how the budget was divided before the first call.
        winner_key: what names the winner in the documents: of MIPRO instruction and demonstration set, of GEPA the
            instruction. ``baseline_key`` likewise. A program of several stages has two indices for each.
        test: ``None`` if there was none.
        ablation: ``None`` if it does not apply.
        pinned: ``None`` if no row is pinned or nothing was found.
        rollouts: of the search and its preparation, recorded or not.
        refused: why how many proposed instructions were refused.
        data: which rows were used and which dropped.
    """

    algorithm: ClassVar[AlgorithmName]
    plan: SearchPlan
    winner_key: tuple[int, ...]
    test: TestResult | None
    ablation: Ablation | None
    pinned: PinnedCheck | None
    stop_reason: str
    rollouts: int
    refused: Counter[str]
    data: SplitReport

    @property
    @abstractmethod
    def baseline_key(self) -> tuple[int, ...]:
        """What names the baseline, as ``winner_key`` does the winner."""

    @property
    @abstractmethod
    def baseline(self) -> Candidate:
        """The candidate the run started from."""

    @property
    @abstractmethod
    def winner(self) -> Candidate:
        """The candidate the search chose."""

    @property
    @abstractmethod
    def winner_source(self) -> str:
        """Who wrote the winner's instruction."""

    @property
    @abstractmethod
    def winner_demos(self) -> DemoSet:
        """The winner's demonstrations and how they were chosen."""

    @property
    @abstractmethod
    def scored(self) -> Mapping[Candidate, SearchScore]:
        """What was scored on ``val``, best first."""

    @property
    @abstractmethod
    def unknown_on_val(self) -> int:
        """Rollouts on ``val`` that measured nothing."""

    @property
    @abstractmethod
    def num_trials(self) -> int:
        """Candidates that were tried."""

    @property
    def recommendation(self) -> Literal["winner", "baseline"]:
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


@dataclass(frozen=True)
class OptimizationResult(RunResult):
    """What a run of MIPRO found.

    ``finalists`` are in their final order, the winner first. ``ablation`` is ``None`` if the settings leave it out.
    """

    algorithm: ClassVar[AlgorithmName] = "mipro"

    plan: Plan
    space: SearchSpace
    trials: Sequence[TrialRecord]
    board: Scoreboard
    finalists: tuple[Entry, ...]
    winner_key: Key
    test: TestResult | None
    stop_reason: str
    rollouts: int
    refused: Counter[str]
    evidence: Evidence
    data: SplitReport
    ablation: Ablation | None = None
    pinned: PinnedCheck | None = None

    @property
    def baseline_key(self) -> Key:
        """Key of the candidate the run started from."""
        return self.space.baseline_key

    @property
    def baseline(self) -> Candidate:
        """The candidate the run started from."""
        return self.space.candidate(self.baseline_key)

    @property
    def winner(self) -> Candidate:
        """The candidate the search chose."""
        return self.space.candidate(self.winner_key)

    @property
    def winner_source(self) -> str:
        """Who wrote the winner's instruction; of several stages those that differ, in their order."""
        stages = zip(self.space.stages, by_stage(self.winner_key), strict=True)
        return ", ".join(dict.fromkeys(stage.instructions[i].source for stage, (i, _) in stages))

    @property
    def winner_demos(self) -> DemoSet:
        """The demonstrations of the winner's first stage and how they were chosen."""
        return self.space.stages[0].demo_sets[self.winner_key[1]]

    @property
    def scored(self) -> Mapping[Candidate, SearchScore]:
        """What was scored on ``val``, best pooled estimate first."""
        return {entry.candidate: SearchScore(entry.mean, entry.n) for entry in self.board.ranking()}

    @property
    def unknown_on_val(self) -> int:
        """Rollouts on ``val`` that measured nothing."""
        return sum(not o.is_known for entry in self.board.entries.values() for o in entry.outcomes.values())

    @property
    def num_trials(self) -> int:
        """Trials of the search."""
        return len(self.trials)
