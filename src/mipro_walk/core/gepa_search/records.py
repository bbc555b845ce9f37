"""What GEPA leaves: every instruction it tried, every step it took, and who is best on which row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from mipro_walk.core.ablation import Ablation
from mipro_walk.core.gepa_search.plan import GepaPlan
from mipro_walk.core.pinned import PinnedCheck
from mipro_walk.core.result import RunResult, SearchScore, TestResult
from mipro_walk.core.search_space import DemoSet, Instruction
from mipro_walk.core.settings import AlgorithmName
from mipro_walk.core.splits import SplitReport
from mipro_walk.types import Candidate, Outcome

StepStatus = Literal[
    "accepted",
    "not better",
    "inconclusive",
    "minibatch solved",
    "nothing to learn",
    "refused",
    "too many unknown",
    "stopped",
]
"""How a step ended. *accepted*: better than its parent on the minibatch, then scored on val. *not better*: no more
right answers than the parent. *inconclusive*: too few rows of the minibatch have two known answers. *minibatch
solved*: the parent answers all of it. *nothing to learn*: no wrong answer is known. *refused*: no proposed text passed
the screening. *too many unknown*: accepted, but val could not be answered. *stopped*: the run ended within the step."""


@dataclass
class Tried:
    """One instruction that was tried. ``parent`` is the index of the one it was made from; ``None`` for the first.

    Attributes:
        outcomes: on val, by seed; empty if it was not accepted.
        is_member: whether it belongs to the population: accepted and scored on val.
    """

    index: int
    instruction: Instruction
    parent: int | None
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    is_member: bool = False

    @property
    def candidate(self) -> Candidate:
        """The prompt: GEPA changes the instruction and shows no demonstrations."""
        return Candidate(self.instruction.text)

    @property
    def known(self) -> dict[int, float]:
        """Scores on val by seed, unknown outcomes left out."""
        return {seed: o.score for seed, o in self.outcomes.items() if o.score is not None}

    @property
    def score(self) -> SearchScore:
        """Mean of the known scores on val."""
        scores = self.known.values()
        return SearchScore(sum(scores) / len(scores) if scores else None, len(scores))


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a parent, a minibatch of train rows, a new instruction, and whether it was accepted.

    Attributes:
        iteration: 0-based.
        parent: index of the instruction that was to be improved.
        instruction: index of the new one; ``None`` if there was none.
        seeds: the train rows of the minibatch.
        parent_score, minibatch_score: of parent and child on the ``num_seeds`` rows of the minibatch that both know;
            ``None`` if the child was not asked.
        val_score, val_n: of the child on val; ``None`` if it was not accepted.
        best_instruction, best_score, best_n: the leader on val after the step.
        rollouts: of the whole run so far.
    """

    iteration: int
    parent: int
    instruction: int | None
    seeds: tuple[int, ...]
    parent_score: float | None
    minibatch_score: float | None
    num_seeds: int
    unknown: int
    status: StepStatus
    val_score: float | None
    val_n: int
    best_instruction: int
    best_score: float
    best_n: int
    rollouts: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain data. Scores named ``minibatch`` are on train rows, the others on val."""
        data = asdict(self) | {"seeds": list(self.seeds), "minibatch_split": "train"}
        return data | {"cumulative_trials": self.iteration + 1}


@dataclass(frozen=True)
class GepaResult(RunResult):
    """What a run of GEPA found. ``tried[0]`` is the baseline; ``pareto_front`` holds indices of ``tried``."""

    algorithm: ClassVar[AlgorithmName] = "gepa"

    plan: GepaPlan
    tried: Sequence[Tried]
    steps: Sequence[Step]
    pareto_front: tuple[int, ...]
    winner_key: tuple[int]
    test: TestResult | None
    stop_reason: str
    rollouts: int
    refused: Counter[str]
    data: SplitReport
    ablation: Ablation | None = None
    pinned: PinnedCheck | None = None

    @property
    def baseline_key(self) -> tuple[int]:
        """Index of the starting instruction."""
        return (0,)

    @property
    def baseline(self) -> Candidate:
        """The starting instruction."""
        return self.tried[0].candidate

    @property
    def winner(self) -> Candidate:
        """The member with the best score on val."""
        return self.tried[self.winner_key[0]].candidate

    @property
    def winner_source(self) -> str:
        """Who wrote the winner's instruction."""
        return self.tried[self.winner_key[0]].instruction.source

    @property
    def winner_demos(self) -> DemoSet:
        """No demonstrations: GEPA changes the instruction only."""
        return DemoSet((), (), "empty")

    @property
    def members(self) -> list[Tried]:
        """The population: every instruction that was scored on val."""
        return [tried for tried in self.tried if tried.is_member]

    @property
    def scored(self) -> Mapping[Candidate, SearchScore]:
        """The population, best score on val first."""
        ranked = sorted(self.members, key=lambda tried: (-(tried.score.mean or 0.0), tried.index))
        return {tried.candidate: tried.score for tried in ranked}

    @property
    def unknown_on_val(self) -> int:
        """Rollouts on val that measured nothing."""
        return sum(not o.is_known for tried in self.tried for o in tried.outcomes.values())

    @property
    def num_trials(self) -> int:
        """Steps of the search."""
        return len(self.steps)


def pareto_front(members: Sequence[Tried]) -> tuple[int, ...]:
    """Return the indices of the members that are best, or as good as the best, on at least one row."""
    best: dict[int, float] = {}
    for tried in members:
        for seed, score in tried.known.items():
            best[seed] = max(score, best.get(seed, score))
    return tuple(t.index for t in members if any(score == best[seed] for seed, score in t.known.items()))
