"""The steps around the search, and what was spent so far. ``optimizer.py`` calls them in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mipro_walk.core import events
from mipro_walk.core.ablation import NO_TEST, NO_WINNER, Ablation, ablate, untested
from mipro_walk.core.bootstrap import Evidence, bootstrap_rows, build_demo_sets
from mipro_walk.core.evaluation import Emit, Evaluator, Stops
from mipro_walk.core.leaks import LeakGuard
from mipro_walk.core.pinned import PinnedCheck, check_pinned
from mipro_walk.core.plan import Plan
from mipro_walk.core.proposer import ProposalRequest, Proposer, screen
from mipro_walk.core.result import TestResult
from mipro_walk.core.search_space import BASELINE, Instruction, SearchSpace
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.core.statistics import compare_paired
from mipro_walk.types import Candidate, Event, Outcome, Rollout, Split, Task

CHUNK = 64
"""Rollouts handed out at once: enough to keep many connections busy, few enough to stop soon."""
Progress = Callable[[int, int], Event]
"""Says how many rollouts are done, of how many."""
MAX_REASKS = 2
"""How often a round asks again for instructions that were refused."""


@dataclass
class Run:
    """The moving parts of one run: what was spent, and each step of the loop."""

    task: Task
    evaluator: Evaluator
    settings: OptimizerSettings
    plan: Plan
    stops: Stops
    emit: Emit
    spent: int = 0
    evidence: Evidence = field(default_factory=Evidence)
    refused: Counter[str] = field(default_factory=Counter)
    leaks: LeakGuard = field(init=False)
    _outside_reason: str | None = None

    def __post_init__(self) -> None:
        self.leaks = LeakGuard(self.task)

    # ---- phase 1

    def bootstrap(self, proposer: Proposer) -> SearchSpace:
        """Run the baseline on train rows, collect instructions, build demonstration sets."""
        instructions = [Instruction(self.task.instruction, "baseline")]
        rounds = self.settings.num_bootstrap_seeds
        if self.ask_outside() is None:
            self._answer_train_rows()
        for index in range(rounds):
            if self.settings.optimize_instructions and self.ask_outside() is None:
                self.emit(events.proposing(index, rounds))
                instructions += self.propose(proposer, index, instructions)
        for number, instruction in enumerate(instructions):
            self.emit(events.instruction_proposed(number, instruction.text, instruction.source))
        space = SearchSpace(instructions, build_demo_sets(self.task, self.evidence, self.settings))
        for event in events.bootstrap_completed(space, len(self.task.train)):
            self.emit(event)
        return space

    def _answer_train_rows(self) -> None:
        """Run the baseline on the rows of all rounds, in one batch: they do not depend on each other."""
        drawn = {
            row.seed: row
            for index in range(self.settings.num_bootstrap_seeds)
            for row in bootstrap_rows(self.task, index, self.plan.bootstrap_rows, self.settings.rng_seed)
        }
        baseline = Candidate(self.task.instruction)
        outcomes = self.buy([Rollout(baseline, "train", seed) for seed in drawn])
        for row, outcome in zip(drawn.values(), outcomes, strict=True):
            self.evidence.add(row, outcome)
        known = sum(outcome.is_known for outcome in outcomes)
        self.emit(events.baseline_train(len(self.evidence.proven), known))

    def propose(
        self,
        proposer: Proposer,
        index: int,
        known: Sequence[Instruction],
        leading: str = "",
        confusions: Sequence[tuple[str, str, int]] = (),
    ) -> list[Instruction]:
        """Return new instructions of round ``index``; refused ones are asked for again, a few times."""
        wanted = self.settings.num_instructions_per_module
        if not self.settings.optimize_instructions:
            return []
        accepted: list[Instruction] = []
        refused: Counter[str] = Counter()
        for attempt in range(1 + MAX_REASKS):
            existing = [i.text for i in (*known, *accepted)]
            request = ProposalRequest(
                self.task,
                self.evidence,
                index,
                wanted - len(accepted),
                self.settings.rng_seed,
                existing,
                attempt,
                leading,
                confusions,
            )
            screening = screen(proposer.propose(request), existing, self.leaks)
            accepted += screening.accepted
            refused += screening.refused
            if len(accepted) >= wanted:
                break
        self.refused += refused
        self.emit(events.bootstrap_progress(index, self.settings.num_bootstrap_seeds, len(accepted), refused))
        return accepted

    # ---- final test

    def final_test(self, space: SearchSpace, winner_key: tuple[int, int]) -> TestResult | None:
        """Score baseline and winner on the same test rows. Paid beside the budget, once."""
        seeds = [row.seed for row in self.task.test[: self.plan.test_rows]]
        if not seeds:
            return None
        self.emit(events.phase(3, "Final test on unseen rows"))
        baseline, winner = self._test([space.candidate(BASELINE), space.candidate(winner_key)], seeds)
        comparison = compare_paired([o.score for o in baseline], [o.score for o in winner])
        for event in events.test_completed(comparison, seeds):
            self.emit(event)
        return TestResult(tuple(seeds), tuple(baseline), tuple(winner), comparison)

    def check_pinned(self, space: SearchSpace, winner_key: tuple[int, int]) -> PinnedCheck | None:
        """Score baseline and winner on the pinned rows. Paid beside the budget, like the test."""
        rows = self.task.pinned
        if not rows or winner_key == BASELINE:
            return None
        candidates = [space.candidate(BASELINE), space.candidate(winner_key)]
        seeds = [row.seed for row in rows]
        found = check_pinned(rows, *self._test(candidates, seeds, events.pinned_progress, "pinned"))
        self.emit(events.pinned_checked(found))
        return found

    def ablation(self, space: SearchSpace, winner_key: tuple[int, int], test: TestResult | None) -> Ablation | None:
        """Take the winner apart on the first test rows. Paid beside the budget; where it is left out, that is said."""
        rows = self.plan.ablation_rows
        if not rows:
            return None
        if test is None or winner_key == BASELINE:
            return self._no_ablation(NO_TEST if test is None else NO_WINNER)
        baseline, winner = space.candidate(BASELINE), space.candidate(winner_key)
        tested = {baseline: test.baseline[:rows], winner: test.winner[:rows]}
        new = untested(tested, baseline, winner)
        if new and (reason := self.ask_outside()):
            return self._no_ablation(reason)
        self.emit(events.phase(4, "Ablation: instruction and demonstrations apart"))
        asked = self._test(new, test.seeds[:rows], events.ablation_progress)
        found = ablate(tested | dict(zip(new, asked, strict=True)), baseline, winner, new)
        self.emit(events.ablation_completed(found))
        return found

    def _no_ablation(self, reason: str) -> Ablation:
        self.emit(events.ablation_skipped(reason))
        return Ablation(skipped=reason)

    def _test(
        self,
        candidates: Sequence[Candidate],
        seeds: Sequence[int],
        progress: Progress = events.test_progress,
        split: Split = "test",
    ) -> list[list[Outcome]]:
        """Return the outcomes of each candidate, in the order of ``seeds``. The same candidate is asked once."""
        distinct = list(dict.fromkeys(candidates))
        rollouts = [Rollout(candidate, split, seed) for candidate in distinct for seed in seeds]
        outcomes: list[Outcome] = []
        for start in range(0, len(rollouts), CHUNK):
            outcomes += self.evaluator.evaluate(rollouts[start : start + CHUNK])
            self.emit(progress(len(outcomes), len(rollouts)))
        answered = {c: outcomes[i * len(seeds) : (i + 1) * len(seeds)] for i, c in enumerate(distinct)}
        return [answered[candidate] for candidate in candidates]

    # ---- shared by the phases

    def buy(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """Evaluate and count against the budget: recorded or not, so that a replay decides alike."""
        self.spent += len(rollouts)
        return self.evaluator.evaluate(rollouts) if rollouts else []

    def ask_outside(self) -> str | None:
        """Return the outside reason to stop, if any. Once there is one it stays."""
        if self._outside_reason is None:
            self._outside_reason = self.stops.check()
        return self._outside_reason
