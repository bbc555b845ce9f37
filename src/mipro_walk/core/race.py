"""Phase 2, the search: rungs of candidates on common rows, and the generations that join on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mipro_walk.core import evaluation, events
from mipro_walk.core.bootstrap import Lessons, count_confusions, demo_pool, vary_demo_sets
from mipro_walk.core.proposer import Proposer
from mipro_walk.core.result import TrialRecord
from mipro_walk.core.run import Run
from mipro_walk.core.rungs import Rung, share_rows, survivors
from mipro_walk.core.sampler import crossed, spread, suggest
from mipro_walk.core.scoreboard import Entry, Scoreboard, common_scores
from mipro_walk.core.search_space import Key, SearchSpace, StageSpace, by_stage
from mipro_walk.core.session import CHUNK
from mipro_walk.types import Rollout


@dataclass
class Race:
    """The search so far: the space, what was scored, and the trials."""

    run: Run
    space: SearchSpace
    board: Scoreboard
    trials: list[TrialRecord] = field(default_factory=list)
    _fresh: Sequence[Sequence[int]] = ()
    _incumbent: Key = field(init=False)

    def __post_init__(self) -> None:
        self._incumbent = self.space.baseline_key

    @property
    def spent(self) -> int:
        """Rollouts on val but the baseline's first ones, so counted like the plan's ``rungs``."""
        return self.run.spent - self.run.plan.bootstrap - self.run.plan.baseline

    def score_baseline(self) -> None:
        """Score the baseline on the first rows of val: the reference that trials are seen against."""
        self._buy({self.space.baseline_key: self.run.plan.minibatch})
        entry = self.board.entries[self.space.baseline_key]
        self.run.emit(events.baseline_val(entry.mean, entry.n))

    def reason_to_stop(self) -> str | None:
        """Return why no further rung is bought, or ``None``: target (which may buy rows to confirm it), rows left, then
        the outside world."""
        if self._target_is_reached():
            return evaluation.TARGET
        if not any(self.board.has_rows_left(key) for key in self.space):
            return evaluation.EXHAUSTED
        return self.run.ask_outside()

    def open_generation(self, proposer: Proposer, number: int) -> None:
        """Widen the space by instructions and demo sets that answer what the leaders get wrong."""
        leaders = self.board.ranking()[: self.run.settings.top_k]
        if not leaders:
            return
        before, leader, confusions = self.space.sizes, leaders[0].key, self._confusions(leaders)
        stages = range(len(self.space.stages))
        self.space = SearchSpace([self._widened(proposer, number, stage, leader, confusions) for stage in stages])
        self._fresh = [range(old, size) for old, size in zip(before, self.space.sizes, strict=True)]
        for event in events.generation_opened(number, self.space, before, leader):
            self.run.emit(event)

    def _widened(
        self,
        proposer: Proposer,
        number: int,
        stage: int,
        leader: Key,
        confusions: Sequence[tuple[str, str, int]],
    ) -> StageSpace:
        run, space = self.run, self.space.stages[stage]
        instruction, demo_set = by_stage(leader)[stage]
        instructions = run.propose(
            proposer,
            run.settings.num_bootstrap_seeds + number - 1,
            space.instructions,
            space.instructions[instruction].text,
            confusions,
            stage,
        )
        pool, evidence = demo_pool(run.task, run.evidence, run.settings, stage)
        rows = {row.seed: row for row in pool}
        lessons = Lessons(evidence.proven, confusions, [rows[seed] for seed in space.demo_sets[demo_set].seeds])
        demo_sets = vary_demo_sets(pool, lessons, run.settings, space.demo_sets, number, stage)
        return space.widened(instructions, demo_sets)

    def members(self, rung: Rung) -> list[Key]:
        """Return who runs: the most promising candidates, and newcomers beside them."""
        if rung.number == 0:
            return spread(self.space, rung.members, self.run.settings.rng_seed) or [self.space.baseline_key]
        estimates = self.board.estimates()
        newcomers = self._newcomers(rung)
        return survivors(estimates, rung.members - len(newcomers)) + newcomers

    def score(self, rung: Rung, members: Sequence[Key]) -> str | None:
        """Bring every member to the same rows, within the rung's share. Returns the reason if it was stopped."""
        run = self.run
        have = [self.board.rows_of(key) for key in members]
        goals = share_rows(have, rung.spent_after - self.spent, len(self.board.order))
        run.emit(events.rung_started(rung, members, max(goals)))
        return self._buy(dict(zip(members, goals, strict=True)), rung)

    def finalists(self) -> tuple[Entry, ...]:
        """Return the best ``top_k``, best pooled estimate first."""
        best = tuple(self.board.ranking()[: self.run.settings.top_k])
        common = common_scores(best)
        for rank, entry in enumerate(best, start=1):
            self.run.emit(
                events.finalist(
                    rank, entry, self.space.describe(entry.key), self.board.estimates()[entry.key], *common[entry.key]
                )
            )
        return best

    def _newcomers(self, rung: Rung) -> list[Key]:
        estimates, settings = self.board.estimates(), self.run.settings
        wanted = min(rung.newcomers, self.space.size - len(self.board.entries))
        leader = next(iter(survivors(estimates, 1)), self.space.baseline_key)
        fresh = crossed(leader, self._fresh, self.board.entries)[:wanted]
        self._fresh = ()
        suggested = suggest(
            self.space, estimates, wanted, sampler=settings.sampler, rng_seed=settings.rng_seed, rung=rung.number
        )
        known = self.board.entries.keys() | set(fresh)
        return (fresh + [key for key in suggested if key not in known])[:wanted]

    def _confusions(self, leaders: Sequence[Entry]) -> list[tuple[str, str, int]]:
        labels = {row.seed: row.label for row in self.run.task.val}
        return count_confusions(
            (labels[seed], outcome.predicted or "")
            for entry in leaders
            for seed, outcome in entry.outcomes.items()
            if outcome.score is not None and outcome.score < 1.0
        )

    # ---- buying rows

    def _buy(self, goals: Mapping[Key, int], rung: Rung | None = None) -> str | None:
        """Answer rows until each candidate has as many as its goal; return the reason if it was stopped on the way.

        Candidate by candidate, since that reuses the model's prompt cache. A candidate's trial starts with its first
        row and ends with its last one; of those that share a chunk each is told to start when the one before has ended.
        """
        rows = {key: self.board.order[self.board.rows_of(key) : goal] for key, goal in goals.items()}
        queue = [(key, seed) for key, seeds in rows.items() for seed in seeds]
        for start in range(0, len(queue), CHUNK):
            if start and (reason := self.run.ask_outside()):
                return reason
            chunk = queue[start : start + CHUNK]
            if rung:
                self._open_trial(*chunk[0], rows)
            self._answer(chunk)
            for number, (key, seed) in enumerate(chunk, start=1):
                if rung and seed == rows[key][-1]:
                    self._close_trial(rung, key, rows[key])
                    if number < len(chunk):
                        self._open_trial(*chunk[number], rows)
        return None

    def _answer(self, chunk: Sequence[tuple[Key, int]]) -> None:
        entries = [self.board.entry(key, self.space.candidate(key)) for key, _ in chunk]
        rollouts = [Rollout(entry.candidate, "val", seed) for entry, (_, seed) in zip(entries, chunk, strict=True)]
        for (key, seed), outcome in zip(chunk, self.run.buy(rollouts), strict=True):
            self.board.record(key, seed, outcome)

    def _open_trial(self, key: Key, seed: int, rows: Mapping[Key, Sequence[int]]) -> None:
        """Report that a trial starts, if ``seed`` is the first of its rows."""
        if seed == rows[key][0]:
            total, plan = self.run.settings.num_iterations, self.run.plan
            self.run.emit(events.trial_started(len(self.trials), len(rows[key]), total, plan))

    def _close_trial(self, rung: Rung, key: Key, seeds: Sequence[int]) -> None:
        settings, entry = self.run.settings, self.board.entries[key]
        outcomes = [entry.outcomes[seed] for seed in seeds]
        scores = [o.score for o in outcomes if o.score is not None]
        unknown = len(outcomes) - len(scores)
        is_void = not scores or unknown > settings.max_unknown_fraction * len(outcomes)
        best = next(iter(self.board.ranking()), entry)
        estimate = self.board.estimates().get(key)
        trial = TrialRecord(
            iteration=len(self.trials),
            rung=rung.number,
            key=key,
            seeds=tuple(seeds),
            score=sum(scores) / len(scores) if scores else None,
            n=len(scores),
            unknown=unknown,
            status="too many unknown" if is_void else "complete",
            is_startup=rung.number == 0,
            estimate=None if is_void or estimate is None else estimate.mean,
            estimate_sd=None if is_void or estimate is None else estimate.sd,
            best_key=best.key,
            best_score=best.mean or 0.0,
            best_n=best.n,
            rollouts=self.run.spent,
        )
        entry.trials.append(trial.iteration)
        self.trials.append(trial)
        is_new_leader = trial.best_key != self._incumbent
        for event in events.trial_ended(trial, settings.num_iterations, self.space, is_new_leader):
            self.run.emit(event)
        self._incumbent = best.key

    def _target_is_reached(self) -> bool:
        """Whether the leader reaches the target; a short lead is first confirmed on as many rows as a finalist gets."""
        run, leader = self.run, next(iter(self.board.ranking()), None)
        if leader is None or (leader.mean or 0.0) < run.settings.target_score:
            return False
        goal = min(len(self.board.order), run.plan.confirmation_rows)
        if goal - len(leader.outcomes) <= run.plan.budget - run.spent:
            self._buy({leader.key: goal})
        return (leader.mean or 0.0) >= run.settings.target_score
