"""The steps of MIPRO around its search, and what was spent so far. ``optimizer.py`` calls them in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from mipro_walk.core import events
from mipro_walk.core.ablation import NO_TEST, NO_WINNER, Ablation, ablate, untested
from mipro_walk.core.bootstrap import Evidence, bootstrap_rows, build_demo_sets, demo_pool
from mipro_walk.core.plan import Plan
from mipro_walk.core.proposer import ProposalRequest, Proposer, screen
from mipro_walk.core.result import TestResult
from mipro_walk.core.search_space import Instruction, Key, SearchSpace, StageSpace
from mipro_walk.core.session import MAX_REASKS, Session
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.types import Rollout, Stage


@dataclass
class Run(Session):
    """The moving parts of one run of MIPRO, and each step of its loop."""

    settings: OptimizerSettings
    plan: Plan
    evidence: Evidence = field(default_factory=Evidence)

    # ---- phase 1

    def bootstrap(self, proposer: Proposer) -> SearchSpace:
        """Run the baseline on train rows, collect instructions, build demonstration sets."""
        if self.ask_outside() is None:
            self._answer_train_rows()
        stages = self.task.stages or [Stage("", self.task.instruction)]
        built = [self._stage_space(proposer, index, stage) for index, stage in enumerate(stages)]
        space = SearchSpace([stage_space for stage_space, _ in built])
        for event in events.bootstrap_completed(space, [pool_size for _, pool_size in built]):
            self.emit(event)
        return space

    def _stage_space(self, proposer: Proposer, number: int, stage: Stage) -> tuple[StageSpace, int]:
        """Return what a stage chooses from, and of how many rows its demonstrations were chosen."""
        instructions = [Instruction(stage.instruction, "baseline")]
        rounds = self.settings.num_bootstrap_seeds
        for index in range(rounds):
            if self.settings.optimize_instructions and self.ask_outside() is None:
                self.emit(events.proposing(index, rounds, stage.name))
                instructions += self.propose(proposer, index, instructions, stage=number)
        pool, evidence = demo_pool(self.task, self.evidence, self.settings, number)
        space = StageSpace(instructions, build_demo_sets(pool, evidence, self.settings, number), stage.name)
        for event in events.instructions_proposed(space):
            self.emit(event)
        return space, len(pool)

    def _answer_train_rows(self) -> None:
        """Run the baseline on the rows of all rounds, in one batch: they do not depend on each other."""
        drawn = {
            row.seed: row
            for index in range(self.settings.num_bootstrap_seeds)
            for row in bootstrap_rows(self.task, index, self.plan.bootstrap_rows, self.settings.rng_seed)
        }
        outcomes = self.buy([Rollout(self.task.baseline, "train", seed) for seed in drawn])
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
        stage: int = 0,
    ) -> list[Instruction]:
        """Return new instructions of a stage in round ``index``; refused ones are asked for again, a few times."""
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
                stage,
            )
            screening = screen(proposer.propose(request), existing, self.leaks)
            accepted += screening.accepted
            refused += screening.refused
            if len(accepted) >= wanted:
                break
        self.refused += refused
        self.emit(events.bootstrap_progress(index, self.settings.num_bootstrap_seeds, len(accepted), refused))
        return accepted

    # ---- after the search

    def tested(self, space: SearchSpace, winner_key: Key) -> TestResult | None:
        """Score baseline and winner on the test rows and report it."""
        test = self.final_test(self.task.baseline, space.candidate(winner_key))
        if test is not None:
            for event in events.test_completed(test.comparison, list(test.seeds)):
                self.emit(event)
        return test

    def ablation(self, space: SearchSpace, winner_key: Key, test: TestResult | None) -> Ablation | None:
        """Take the winner apart on the first test rows. Paid beside the budget; where it is left out, that is said."""
        rows = self.plan.ablation_rows
        if not rows:
            return None
        if test is None or winner_key == space.baseline_key:
            return self._no_ablation(NO_TEST if test is None else NO_WINNER)
        baseline, winner = self.task.baseline, space.candidate(winner_key)
        tested = {baseline: test.baseline[:rows], winner: test.winner[:rows]}
        new = untested(tested, baseline, winner)
        if new and (reason := self.ask_outside()):
            return self._no_ablation(reason)
        self.emit(events.phase(4, "Ablation: instruction and demonstrations apart"))
        asked = self.ask_rows(new, test.seeds[:rows], events.ablation_progress)
        found = ablate(tested | dict(zip(new, asked, strict=True)), baseline, winner, new)
        self.emit(events.ablation_completed(found))
        return found

    def _no_ablation(self, reason: str) -> Ablation:
        self.emit(events.ablation_skipped(reason))
        return Ablation(skipped=reason)
