"""GEPA's population: what was tried, what each instruction scored, and what may be bought next.

The ``gepa`` package decides which instruction is improved on which rows; this module answers its questions. It buys
each rollout once, keeps what is known of every row, and leaves unknown outcomes out of every comparison.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from mipro_walk.core import evaluation
from mipro_walk.core.gepa_search import events
from mipro_walk.core.gepa_search.plan import GepaPlan
from mipro_walk.core.gepa_search.records import Step, StepStatus, Tried, pareto_front
from mipro_walk.core.gepa_search.reflection import ReflectionRequest, Reflector, Sample
from mipro_walk.core.proposer import Screening, screen
from mipro_walk.core.search_space import Instruction
from mipro_walk.core.session import CHUNK, MAX_REASKS, Session
from mipro_walk.core.settings import GepaSettings
from mipro_walk.types import Candidate, Example, Outcome, Rollout, Split

IDLE_STEPS = 10
"""So many steps in a row that bought nothing end the search: it has nothing more to try."""


class StopSearchError(Exception):
    """The search ends here, for ``reason``. Never leaves this package."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class _OpenStep:
    """A step that is under way."""

    parent: int = 0
    rows: Sequence[Example] = ()
    child: Tried | None = None
    before: Sequence[Outcome] = ()
    after: Sequence[Outcome] = ()
    status: StepStatus = "nothing to learn"
    spent_before: int = 0


@dataclass(frozen=True, slots=True)
class Duel:
    """Parent and child on the rows of a minibatch that both know. ``unknown`` rows are left out."""

    parent: float
    child: float
    n: int
    unknown: int


@dataclass
class Evolution(Session):
    """One run of GEPA on its way."""

    settings: GepaSettings
    plan: GepaPlan
    reflector: Reflector = field(kw_only=True)
    tried: list[Tried] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    step: _OpenStep = field(default_factory=_OpenStep)
    _answers: dict[tuple[str, Split, int], Outcome] = field(default_factory=dict)
    _idle: int = 0
    _is_used_up: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tried.append(Tried(0, Instruction(self.task.instruction, "baseline"), None))

    # ---- the population

    @property
    def val_rows(self) -> list[Example]:
        """The rows that the Pareto front is kept over, in their one order."""
        return list(self.task.val[: self.plan.pareto_rows])

    @property
    def members(self) -> list[Tried]:
        """The population in the order in which it grew."""
        return [tried for tried in self.tried if tried.is_member]

    @property
    def leader(self) -> Tried:
        """The member with the best mean on val; the earlier of two equal ones."""
        return max(self.members or self.tried[:1], key=lambda tried: (tried.score.mean or 0.0, -tried.index))

    def score_baseline(self) -> str | None:
        """Score the starting instruction on val; return the reason if that was stopped on the way."""
        baseline = self.tried[0]
        baseline.is_member = True
        try:
            self._score_on_val(baseline)
        except StopSearchError as stopped:
            return stopped.reason
        if unknown := len(baseline.outcomes) - len(baseline.known):
            self.emit(events.rows_left_out(unknown))
        self.emit(events.scored_on_val(baseline, baseline, self.plan.pareto_rows))
        return None

    def common_rows(self) -> list[Example]:
        """Return the val rows that the starting instruction could answer: the Pareto front is kept over these."""
        return [row for row in self.val_rows if row.seed in self.tried[0].known]

    def enter(self, child: Tried) -> bool:
        """Score an accepted instruction on val and let it into the population; whether it could be.

        Raises:
            StopSearchError: there is a reason to stop on the way.
        """
        self._score_on_val(child)
        unknown = len(child.outcomes) - len(child.known)
        if not child.known or unknown > self.settings.max_unknown_fraction * len(child.outcomes):
            self.step.status = "too many unknown"
            return False
        child.is_member = True
        self.emit(events.scored_on_val(child, self.leader, self.plan.pareto_rows))
        return True

    def front(self) -> tuple[int, ...]:
        """Return the indices of the members that are best on at least one row."""
        return pareto_front(self.members)

    # ---- one step

    def reason_to_stop(self) -> str | None:
        """Return why no further step is taken, or ``None``."""
        if (self.leader.score.mean or 0.0) >= self.settings.target_score:
            return evaluation.TARGET
        if self.plan.budget - self.spent < self.plan.step:
            return evaluation.BUDGET
        if self._is_used_up or self._idle >= IDLE_STEPS:
            return evaluation.EXHAUSTED
        return self.ask_outside()

    def open_step(self) -> None:
        """Begin a step."""
        self.step = _OpenStep(spent_before=self.spent)

    def propose(self, samples: Sequence[Sample]) -> Tried | None:
        """Return a new instruction that passed the screening, or ``None``; the step then says why."""
        if all(sample["Feedback"] == "Right." for sample in samples):
            return None
        existing = [tried.instruction.text for tried in self.tried]
        parent, refused, screening = self.tried[self.step.parent], Counter[str](), Screening()
        for attempt in range(1 + MAX_REASKS):
            request = ReflectionRequest(self.task, parent.instruction.text, samples, existing, len(self.steps), attempt)
            written = self.reflector.reflect(request)
            if written is None:
                self._is_used_up = True
                break
            screening = screen([written], existing, self.leaks)
            refused += screening.refused
            if screening.accepted:
                break
        self.refused += refused
        if refused:
            self.emit(events.refused(len(self.steps), refused))
        if not screening.accepted:
            self.step.status = "refused"
            return None
        return self._add(screening.accepted[0], parent)

    def duel(self) -> Duel:
        """Compare parent and child on the rows of the minibatch that both know, each row once."""
        pairs = {
            row.seed: (before.score, after.score)
            for row, before, after in zip(self.step.rows, self.step.before, self.step.after, strict=True)
        }
        known = [(b, a) for b, a in pairs.values() if b is not None and a is not None]
        n = len(known)
        return Duel(sum(b for b, _ in known), sum(a for _, a in known), n, len(pairs) - n)

    def child_is_better(self) -> bool:
        """Whether the child has more right than its parent on their common rows; the step then says why not.

        With more unknown rows than ``max_unknown_fraction`` the minibatch says nothing.
        """
        duel = self.duel()
        if not duel.n or duel.unknown > self.settings.max_unknown_fraction * (duel.n + duel.unknown):
            self.step.status = "inconclusive"
            return False
        self.step.status = "accepted" if duel.child > duel.parent else "not better"
        return duel.child > duel.parent

    def close_step(self) -> None:
        """Record and report the step that is open."""
        step, leader = self.step, self.leader
        duel = self.duel() if step.after else None
        has_entered = step.child is not None and step.child.is_member
        record = Step(
            iteration=len(self.steps),
            parent=step.parent,
            instruction=step.child.index if step.child else None,
            seeds=tuple(row.seed for row in step.rows),
            parent_score=duel.parent / duel.n if duel and duel.n else None,
            minibatch_score=duel.child / duel.n if duel and duel.n else None,
            num_seeds=duel.n if duel else 0,
            unknown=duel.unknown if duel else 0,
            status=step.status,
            val_score=step.child.score.mean if step.child and has_entered else None,
            val_n=step.child.score.n if step.child and has_entered else 0,
            best_instruction=leader.index,
            best_score=leader.score.mean or 0.0,
            best_n=leader.score.n,
            rollouts=self.spent,
        )
        self._idle = self._idle + 1 if self.spent == step.spent_before else 0
        self.steps.append(record)
        for event in events.step_ended(record, self.plan):
            self.emit(event)

    # ---- buying rows

    def answer(self, candidate: Candidate, split: Split, rows: Sequence[Example]) -> list[Outcome]:
        """Return the outcome of each row; those that are not known yet are bought, in chunks.

        Raises:
            StopSearchError: there is a reason to stop before a further chunk.
        """
        wanted = dict.fromkeys(row.seed for row in rows)
        missing = [seed for seed in wanted if (candidate.instruction, split, seed) not in self._answers]
        for start in range(0, len(missing), CHUNK):
            if start and (reason := self.ask_outside()):
                raise StopSearchError(reason)
            chunk = missing[start : start + CHUNK]
            outcomes = self.buy([Rollout(candidate, split, seed) for seed in chunk])
            found = zip(chunk, outcomes, strict=True)
            self._answers |= {(candidate.instruction, split, seed): outcome for seed, outcome in found}
        return [self._answers[candidate.instruction, split, row.seed] for row in rows]

    def _score_on_val(self, tried: Tried) -> None:
        rows = self.val_rows if tried.index == 0 else self.common_rows()
        for start in range(0, len(rows), CHUNK):
            if (start or tried.index) and (reason := self.ask_outside()):
                self.step.status = "stopped"
                raise StopSearchError(reason)
            chunk = rows[start : start + CHUNK]
            outcomes = self.answer(tried.candidate, "val", chunk)
            tried.outcomes |= {row.seed: outcome for row, outcome in zip(chunk, outcomes, strict=True)}

    def _add(self, instruction: Instruction, parent: Tried) -> Tried:
        child = Tried(len(self.tried), instruction, parent.index)
        self.tried.append(child)
        self.step.child = child
        self.emit(events.proposed(child, len(self.steps)))
        return child
