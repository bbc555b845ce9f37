"""The methods that can be compared. Each finds a prompt, then scores it and the baseline on the test rows.

All get the same rows, budget, evaluator and proposer. A rollout counts when it is asked for, whether it is recorded
already or not, so that no method gains from running after another.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec

from mipro_walk.comparison.intervals import Scores, known_mean
from mipro_walk.core.algorithms import Writer, require_gepa
from mipro_walk.core.evaluation import Emit, Evaluator, NeverStop, ignore
from mipro_walk.core.optimizer import optimize
from mipro_walk.core.plan import make_plan
from mipro_walk.core.proposer import Proposer
from mipro_walk.core.result import RunResult
from mipro_walk.core.run import Run
from mipro_walk.core.search_space import SearchSpace
from mipro_walk.core.settings import AlgorithmName, GepaSettings, OptimizerSettings
from mipro_walk.core.splits import clean
from mipro_walk.errors import ConfigError
from mipro_walk.types import Candidate, Outcome, Rollout, Split, Task

Trace = tuple[tuple[int, Candidate], ...]
"""``(rollouts so far, the prompt that the method would have returned then)``, ascending."""


@dataclass
class Counted:
    """An evaluator that counts the rollouts it is asked for by split and keeps the scores on val.

    Attributes:
        val: for each candidate its scores on val by seed, ``None`` where a call failed.
    """

    evaluator: Evaluator
    asked: Counter[Split] = field(default_factory=Counter)
    val: dict[Candidate, dict[int, float | None]] = field(default_factory=dict)

    def evaluate(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """Score every rollout once."""
        self.asked.update(rollout.split for rollout in rollouts)
        outcomes = self.evaluator.evaluate(rollouts)
        for rollout, outcome in zip(rollouts, outcomes, strict=True):
            if rollout.split == "val":
                self.val.setdefault(rollout.candidate, {})[rollout.seed] = outcome.score
        return outcomes


@dataclass(frozen=True)
class Contest:
    """What a method is given: the same rows, evaluator and proposer as its competitors.

    Attributes:
        writer: the proposer in the form that other algorithms need; ``None``: there is none.
        gepa: GEPA's own settings; ``None`` takes its defaults beside what ``settings`` share with them.
    """

    task: Task
    evaluator: Counted
    proposer: Proposer
    settings: OptimizerSettings
    emit: Emit = ignore
    writer: Writer | None = None
    gepa: GepaSettings | None = None

    def scores(self, candidate: Candidate, split: Split, rows: int) -> list[float | None]:
        """Return the candidate's scores on the first ``rows`` rows of a split."""
        seeds = [row.seed for row in self.task.rows(split)[:rows]]
        return [o.score for o in self.evaluator.evaluate([Rollout(candidate, split, seed) for seed in seeds])]

    def test_scores(self, candidate: Candidate) -> list[float | None]:
        """Return the candidate's scores on the test rows."""
        return self.scores(candidate, "test", self.settings.test_size)


@dataclass(frozen=True)
class Found:
    """What a method found: its prompt, both score lists by test row, and the rollouts it took before the test."""

    winner: Candidate
    scores: Scores
    baseline_scores: Scores
    rollouts: int
    trace: Trace = ()


def keep_baseline(contest: Contest) -> Found:
    """Change nothing."""
    unchanged = contest.task.baseline
    scores = contest.test_scores(unchanged)
    return Found(unchanged, scores, scores, 0, ((0, unchanged),))


def search(contest: Contest) -> Found:
    """Run the optimizer as it is. The scores are those of the prompt it chose, proven better or not."""
    result = optimize(contest.task, contest.evaluator, contest.proposer, contest.settings, emit=contest.emit)
    return _found(result, [(trial.rollouts, result.space.candidate(trial.best_key)) for trial in result.trials])


def evolve(contest: Contest) -> Found:
    """Run GEPA on the same rows: it changes the instruction and shows no demonstrations.

    Raises:
        PrerequisiteError: the ``gepa`` package is not installed.
    """
    from mipro_walk.core.gepa_search.search import run_gepa

    assert contest.writer is not None
    settings = contest.gepa or GepaSettings.like(contest.settings)
    result = run_gepa(contest.task, contest.evaluator, contest.writer.reflector(), settings, emit=contest.emit)
    return _found(result, [(step.rollouts, result.tried[step.best_instruction].candidate) for step in result.steps])


def _found(result: RunResult, leaders: Sequence[tuple[int, Candidate]]) -> Found:
    """Return what a run of an optimizer found, given its leader after each trial.

    Raises:
        ConfigError: there was no final test, so there is nothing to compare.
    """
    if result.test is None:
        raise ConfigError("Without test rows nothing can be compared.", "Set test_size to 1 or more.")
    scores, baseline = ([o.score for o in outcomes] for outcomes in (result.test.winner, result.test.baseline))
    trace = ((0, result.baseline), *leaders, (result.rollouts, result.winner))
    return Found(result.winner, scores, baseline, result.rollouts, trace)


def random_search(contest: Contest) -> Found:
    """Plain random search at the same budget: draw as many candidates as iterations, best mean wins.

    Bootstrap and candidates are ours with the same rng seed. The rest of the budget is divided evenly: no racing, no
    pooling, no finalists. All candidates get the same rows, which is kinder to it than rows drawn anew for each.

    Raises:
        ConfigError: there is no candidate beside the baseline, or no row for each.
    """
    settings = contest.settings
    space, spent = bootstrapped(contest)
    others = [key for key in space if key != space.baseline_key]
    rng = random.Random(f"random-search-{settings.rng_seed}")  # noqa: S311 (draws candidates, no secrets)
    drawn = [space.candidate(key) for key in rng.sample(others, min(settings.num_iterations, len(others)))]
    rows = min((settings.budget - spent) // len(drawn), len(contest.task.val)) if drawn else 0
    if not rows:
        raise ConfigError(
            f"Random search has {len(drawn)} candidates and {settings.budget - spent} rollouts for them.",
            "Raise budget, or let it vary instructions or demonstrations.",
        )
    means, trace = [], [(0, contest.task.baseline)]
    for number, candidate in enumerate(drawn, start=1):
        means.append(known_mean(contest.scores(candidate, "val", rows)))
        trace.append((spent + number * rows, drawn[means.index(max(means))]))
    winner = drawn[means.index(max(means))]
    baseline = contest.test_scores(contest.task.baseline)
    return Found(winner, contest.test_scores(winner), baseline, spent + rows * len(drawn), tuple(trace))


def bootstrapped(contest: Contest) -> tuple[SearchSpace, int]:
    """Return the candidates that our own search would start with, and the rollouts they took."""
    task, settings = clean(contest.task)[0], contest.settings
    run = Run(task, contest.evaluator, settings, make_plan(settings, task), NeverStop(), contest.emit)
    return run.bootstrap(contest.proposer), run.spent


# ---- the registry


def _unchanged(settings: OptimizerSettings) -> OptimizerSettings:
    return settings


def _demos_only(settings: OptimizerSettings) -> OptimizerSettings:
    return replace(settings, optimize_instructions=False)


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the comparison.

    Attributes:
        title: what it is called on screens.
        summary: what it does, in a few words.
        find: finds a prompt.
        algorithm: whose settings and plan it has.
        settings: what it changes of MIPRO's settings.
        is_drawn: whether its rng seed changes anything; if not it runs once, with seed 0.
    """

    name: str
    title: str
    summary: str
    find: Callable[[Contest], Found]
    algorithm: AlgorithmName = "mipro"
    settings: Callable[[OptimizerSettings], OptimizerSettings] = _unchanged
    is_drawn: bool = True


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("mipro", "MIPRO", "instructions and demonstrations, searched by racing, TPE and pooling", search),
        Method("gepa", "GEPA", "the instruction, improved step by step from what went wrong", evolve, "gepa"),
        Method("random", "random search", "random candidates, the budget divided evenly", random_search),
        Method("demos-only", "demos only", "MIPRO with the instruction unchanged", search, settings=_demos_only),
        Method("baseline", "baseline", "the starting prompt, unchanged", keep_baseline, is_drawn=False),
    )
}


def default_methods() -> list[str]:
    """Return every method that this installation can run."""
    return [name for name in METHODS if name != "gepa" or find_spec("gepa") is not None]


def chosen_methods(names: Sequence[str]) -> list[Method]:
    """Return the methods of these names, each once.

    Raises:
        ConfigError: a name is not known.
        PrerequisiteError: GEPA is named although its package is not installed.
    """
    if unknown := [name for name in names if name not in METHODS]:
        raise ConfigError(f"There is no method {unknown[0]!r} here.", f"Choose from {', '.join(METHODS)}.")
    if "gepa" in names:
        require_gepa()
    return [METHODS[name] for name in dict.fromkeys(names)]
