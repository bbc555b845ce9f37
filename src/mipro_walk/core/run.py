"""The steps of one run, and what was spent so far. ``optimizer.py`` calls them in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from mipro_walk.core import evaluation, events
from mipro_walk.core.bootstrap import Evidence, bootstrap_rows, build_demo_sets
from mipro_walk.core.evaluation import Emit, Evaluator, Stops
from mipro_walk.core.plan import Plan
from mipro_walk.core.proposer import ProposalRequest, Proposer, screen
from mipro_walk.core.result import TestResult, TrialRecord
from mipro_walk.core.sampler import Sampler
from mipro_walk.core.scoreboard import Entry, Scoreboard, common_scores
from mipro_walk.core.search_space import BASELINE, Instruction, SearchSpace
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.core.statistics import compare_paired
from mipro_walk.types import Candidate, Outcome, Rollout, Split, Task

TEST_CHUNK = 20
"""Test rows between two progress events."""
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
    _outside_reason: str | None = None

    # ---- phase 1

    def bootstrap(self, proposer: Proposer) -> SearchSpace:
        """Run the baseline on train rows, collect instructions, build demonstration sets."""
        instructions = [Instruction(self.task.instruction, "baseline")]
        rounds = self.settings.num_bootstrap_seeds
        answered: dict[int, Outcome] = {}
        for index in range(rounds):
            if self._ask_outside():
                break
            self._bootstrap_rollouts(index, answered)
            if self.settings.optimize_instructions:
                self.emit(events.proposing(index, rounds))
                instructions += self._proposals(proposer, index, rounds, instructions)
        known = [o for o in answered.values() if o.is_known]
        self.emit(events.baseline_train(len(self.evidence.proven), len(known)))
        for number, instruction in enumerate(instructions):
            self.emit(events.instruction_proposed(number, instruction.text, instruction.source))
        space = SearchSpace(instructions, build_demo_sets(self.task, self.evidence, self.settings))
        for event in events.bootstrap_completed(space, len(self.task.train)):
            self.emit(event)
        return space

    def _bootstrap_rollouts(self, index: int, answered: dict[int, Outcome]) -> None:
        drawn = bootstrap_rows(self.task, index, self.plan.bootstrap_rows, self.settings.rng_seed)
        rows = [row for row in drawn if row.seed not in answered]
        outcomes = self._buy(Candidate(self.task.instruction), "train", [row.seed for row in rows])
        for row, outcome in zip(rows, outcomes, strict=True):
            answered[row.seed] = outcome
            self.evidence.add(row, outcome)

    def _proposals(
        self, proposer: Proposer, index: int, rounds: int, existing: Sequence[Instruction]
    ) -> list[Instruction]:
        wanted = self.settings.num_instructions_per_module
        accepted: list[Instruction] = []
        refused: Counter[str] = Counter()
        for attempt in range(1 + MAX_REASKS):
            known = [i.text for i in (*existing, *accepted)]
            request = ProposalRequest(
                self.task,
                self.evidence,
                index,
                wanted - len(accepted),
                self.settings.rng_seed,
                known,
                attempt,
            )
            screening = screen(proposer.propose(request), known, self.task)
            accepted += screening.accepted
            refused += screening.refused
            if len(accepted) >= wanted:
                break
        self.refused += refused
        self.emit(events.bootstrap_progress(index, rounds, len(accepted), refused))
        return accepted

    # ---- phase 2

    def score_baseline(self, board: Scoreboard, space: SearchSpace) -> float:
        """Score the baseline on the first minibatch of val: the reference that trials are seen against."""
        entry = board.entry(BASELINE, space.candidate(BASELINE))
        self._answer(entry, board.next_seeds(entry, self.plan.minibatch))
        self.emit(events.baseline_val(entry.mean, entry.n))
        return board.estimate(entry)

    def reason_to_stop(self, board: Scoreboard, space: SearchSpace, done: int) -> str | None:
        """Return why no further trial is bought, or ``None``. Checked in this order: iterations, target
        (which may buy rows to confirm it), budget, rows left, then the outside world."""
        if done >= self.settings.num_iterations:
            return evaluation.ITERATIONS
        if self._target_is_reached(board):
            return evaluation.TARGET
        if self.plan.budget - self.spent < self.plan.minibatch:
            return evaluation.BUDGET
        if not any(board.has_rows_left(key) for key in space):
            return evaluation.EXHAUSTED
        return self._ask_outside()

    def next_key(self, sampler: Sampler, board: Scoreboard, space: SearchSpace) -> tuple[int, int]:
        """Ask the sampler until it names a candidate that still has rows to buy."""
        for _ in range(space.size):
            key = sampler.ask()
            if board.has_rows_left(key):
                return key
            sampler.tell(key, board.estimate(board.entries[key]))
        open_keys = (key for key in space if board.has_rows_left(key))
        return sampler.ask_for(next(open_keys))

    def trial(
        self, board: Scoreboard, key: tuple[int, int], candidate: Candidate, iteration: int, num_startup: int
    ) -> TrialRecord:
        """Buy the candidate's next rows, in two halves: one that cannot catch up is dropped after the first."""
        entry = board.entry(key, candidate)
        leader = next((e for e in board.ranking() if e.key != key), None)
        seeds = board.next_seeds(entry, self.plan.minibatch)
        half = (len(seeds) + 1) // 2
        self._answer(entry, seeds[:half])
        dropped = leader is not None and _cannot_catch_up(entry, leader, len(seeds) - half)
        if dropped:
            seeds = seeds[:half]
        else:
            self._answer(entry, seeds[half:])
        entry.trials.append(iteration)
        outcomes = [entry.outcomes[seed] for seed in seeds]
        scores = [o.score for o in outcomes if o.score is not None]
        unknown = len(outcomes) - len(scores)
        is_void = not scores or unknown > self.settings.max_unknown_fraction * len(outcomes)
        best = board.ranking()[0] if board.ranking() else entry
        return TrialRecord(
            iteration=iteration,
            key=key,
            seeds=tuple(seeds),
            score=sum(scores) / len(scores) if scores else None,
            n=len(scores),
            unknown=unknown,
            status="too many unknown" if is_void else "dropped early" if dropped else "complete",
            is_startup=iteration < num_startup,
            estimate=None if is_void else board.estimate(entry),
            best_key=best.key,
            best_score=best.mean or 0.0,
            best_n=best.n,
            rollouts=self.spent,
        )

    def report(self, trials: Sequence[TrialRecord]) -> None:
        """Emit the events of the last trial."""
        last = trials[-1]
        self.emit(events.trial_complete(last.as_dict(), self.settings.num_iterations))
        before = trials[-2].best_key if len(trials) > 1 else BASELINE
        if last.best_key != before and last.score is not None:
            self.emit(
                events.new_incumbent({**last.as_dict(), "instruction": last.best_key[0], "demo_set": last.best_key[1]})
            )
        self.emit(events.iteration_complete(last.iteration, self.spent))

    # ---- finalists and final test

    def rank_finalists(self, board: Scoreboard) -> tuple[Entry, ...]:
        """Bring the best ``top_k`` to more rows with what is left of the budget; the best on common rows wins."""
        finalists = board.ranking()[: self.settings.top_k]
        affordable = max(0, self.plan.budget - self.spent)
        goal = _reachable_rows([len(e.outcomes) for e in finalists], affordable, len(board.order))
        if self._outside_reason is None and len(finalists) > 1:
            for entry in finalists:
                self._answer(entry, board.next_seeds(entry, goal - len(entry.outcomes)))
        common = common_scores(finalists)
        ranked = sorted(finalists, key=lambda e: (-common[e.key][0], -board.estimate(e), e.key))
        for rank, entry in enumerate(ranked, start=1):
            self.emit(events.finalist(rank, entry, *common[entry.key]))
        return tuple(ranked)

    def final_test(self, space: SearchSpace, winner_key: tuple[int, int]) -> TestResult | None:
        """Score baseline and winner on the same test rows. Paid beside the budget, once."""
        seeds = [row.seed for row in self.task.test[: self.plan.test_rows]]
        if not seeds:
            return None
        self.emit(events.phase(3, "Final test on unseen rows"))
        baseline = self._test("baseline", space.candidate(BASELINE), seeds)
        winner = baseline if winner_key == BASELINE else self._test("winner", space.candidate(winner_key), seeds)
        comparison = compare_paired([o.score for o in baseline], [o.score for o in winner])
        for event in events.test_completed(comparison, seeds):
            self.emit(event)
        return TestResult(tuple(seeds), tuple(baseline), tuple(winner), comparison)

    def _test(self, who: str, candidate: Candidate, seeds: Sequence[int]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for start in range(0, len(seeds), TEST_CHUNK):
            chunk = seeds[start : start + TEST_CHUNK]
            outcomes += self.evaluator.evaluate([Rollout(candidate, "test", seed) for seed in chunk])
            self.emit(events.test_progress(who, len(outcomes), len(seeds)))
        return outcomes

    # ---- buying rollouts

    def _buy(self, candidate: Candidate, split: Split, seeds: Sequence[int]) -> list[Outcome]:
        """Evaluate and count against the budget: recorded or not, so that a replay decides alike."""
        if not seeds:
            return []
        self.spent += len(seeds)
        return self.evaluator.evaluate([Rollout(candidate, split, seed) for seed in seeds])

    def _answer(self, entry: Entry, seeds: Sequence[int]) -> None:
        outcomes = self._buy(entry.candidate, "val", seeds)
        entry.outcomes.update(zip(seeds, outcomes, strict=True))

    def _ask_outside(self) -> str | None:
        if self._outside_reason is None:
            self._outside_reason = self.stops.check()
        return self._outside_reason

    def _target_is_reached(self, board: Scoreboard) -> bool:
        """Whether the leader reaches the target; a short lead is first confirmed on a finalist's rows."""
        leader = next(iter(board.ranking()), None)
        if leader is None or (leader.mean or 0.0) < self.settings.target_score:
            return False
        missing = board.next_seeds(leader, self.plan.finalist_rows - len(leader.outcomes))
        if missing and self.plan.budget - self.spent >= len(missing):
            self._answer(leader, missing)
        return (leader.mean or 0.0) >= self.settings.target_score


def _cannot_catch_up(entry: Entry, leader: Entry, rows_left: int) -> bool:
    """Whether ``entry`` stays at or below ``leader`` on this minibatch even if it gets every row left right."""
    common = entry.known.keys() & leader.known.keys()
    deficit = sum(leader.known[seed] - entry.known[seed] for seed in common)
    return bool(common) and rows_left > 0 and deficit >= rows_left


def _reachable_rows(have: Sequence[int], affordable: int, rows: int) -> int:
    """Return the largest number of rows that all finalists can be brought to for ``affordable`` rollouts."""
    goal = max(have, default=0)
    while goal < rows and sum(max(0, goal + 1 - n) for n in have) <= affordable:
        goal += 1
    return goal if sum(goal - n for n in have) <= affordable else min(have, default=0)
