"""The schedules that are compared: each gets a landscape and calls, and returns a candidate and what it reports of it.

Every schedule may append ``(calls so far, candidate it would return now)`` to a trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from landscapes import VAL_ROWS, Key, Known
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from mipro_walk.core.evaluation import NeverStop
from mipro_walk.core.optimizer import search
from mipro_walk.core.plan import make_plan
from mipro_walk.core.proposer import PatternProposer
from mipro_walk.core.race import Race
from mipro_walk.core.run import Run
from mipro_walk.core.scoreboard import Scoreboard
from mipro_walk.core.search_space import DemoSet, Instruction, SearchSpace, StageSpace
from mipro_walk.core.settings import OptimizerSettings, SamplerName
from mipro_walk.types import Candidate, Demonstration, Event, Example, Outcome, Rollout, Stage, Task

Trace = list[tuple[int, Key]]
ROLLOUTS_PER_TRIAL = 6
PLAIN_MINIBATCH = 35


@dataclass(frozen=True)
class Pick:
    """What a schedule returns: the candidate, and the score it would show its user."""

    key: Key
    reported: float


Schedule = Callable[[Known, int, int, Trace], Pick]


# ---- ours: the code of the package itself


class _Answers:
    """The landscape behind the optimizer's evaluator."""

    def __init__(self, landscape: Known) -> None:
        self._landscape = landscape

    def evaluate(self, rollouts: list[Rollout]) -> list[Outcome]:
        asked = [(_key(rollout.candidate), rollout.seed) for rollout in rollouts]
        return [Outcome(float(self._landscape.ask(key, range(row, row + 1))[0])) for key, row in asked]


def ours(sampler: SamplerName) -> Schedule:
    """Return our search, on the whole pool and one generation of it (a fixed pool has no second one)."""

    def run(landscape: Known, calls: int, seed: int, trace: Trace) -> Pick:
        choices = [range(size) for size in landscape.shape]
        return race(landscape, choices, calls, seed, trace, sampler=sampler)

    return run


def stage_after_stage(landscape: Known, calls: int, seed: int, trace: Trace) -> Pick:
    """Run our search on the first stage, the others as they start, then on the next beside that winner, and so on.

    Each search has an equal share of the calls and begins anew.
    """
    stages = len(landscape.shape) // 2
    pick = Pick((0,) * len(landscape.shape), 0.0)
    for stage in range(stages):
        choices = [
            range(size) if axis // 2 == stage else [level]
            for axis, (size, level) in enumerate(zip(landscape.shape, pick.key, strict=True))
        ]
        share = (calls - landscape.calls) // (stages - stage)
        pick = race(landscape, choices, share, seed, trace, sampler="tpe")
    return pick


def race(
    landscape: Known, choices: Sequence[Sequence[int]], calls: int, seed: int, trace: Trace, *, sampler: SamplerName
) -> Pick:
    """Search the levels of each axis that ``choices`` leaves; the first of each is the start."""
    settings = OptimizerSettings(
        budget=calls,
        num_iterations=max(1, round(calls / ROLLOUTS_PER_TRIAL)),
        num_bootstrap_seeds=0,
        generations=1,
        optimize_demos=False,  # the sets are given, none are built
        target_score=1.01,
        test_size=0,
        sampler=sampler,
        rng_seed=seed,
    )
    space, before = _space(choices), landscape.calls
    task = _task(space)

    def note(event: Event) -> None:
        if event.type == "mipro.trial.complete":
            best = event.data.get("best_key") or (event.data["best_instruction"], event.data["best_demo_set"])
            trace.append((before + event.data["rollouts"], _key(space.candidate(tuple(best)))))

    state = Run(task, _Answers(landscape), settings, make_plan(settings, task), NeverStop(), note)
    running = Race(state, space, Scoreboard(range(VAL_ROWS)))
    search(running, PatternProposer())
    best = running.finalists()[0]
    return Pick(_key(best.candidate), running.board.estimates()[best.key].mean)


def _task(space: SearchSpace) -> Task:
    val = [Example(row, f"row {row}", "right") for row in range(VAL_ROWS)]
    names = [Stage(stage.name, stage.instructions[0].text) for stage in space.stages]
    stages = names if len(names) > 1 else ()
    return Task("simulated", "Simulated.", names[0].instruction, [], val, [], stages=stages)


def _space(choices: Sequence[Sequence[int]]) -> SearchSpace:
    return SearchSpace(
        [
            StageSpace(
                [Instruction(f"instruction {i}", "built-in") for i in instructions],
                [DemoSet((Demonstration(str(d), "right"),), (d,), "given") for d in demo_sets],
                f"stage {number}",
            )
            for number, (instructions, demo_sets) in enumerate(zip(choices[::2], choices[1::2], strict=True), start=1)
        ]
    )


def _key(candidate: Candidate) -> Key:
    """Return the landscape's key of a candidate: its texts hold the levels."""
    levels = [(prompt.instruction.split()[1], prompt.demos[0].query) for prompt in candidate.prompts]
    return tuple(int(level) for pair in levels for level in pair)


# ---- the plain ones


def random_search(landscape: Known, calls: int, seed: int, trace: Trace) -> Pick:
    """Score random candidates on minibatches of 35 common rows; the best mean wins."""
    return _best_of(landscape, _draw(landscape, calls // PLAIN_MINIBATCH, seed), calls, trace)


def demos_only(landscape: Known, calls: int, seed: int, trace: Trace) -> Pick:
    """Score random demonstration sets with the first instruction."""
    rng = np.random.default_rng(seed)
    sets = landscape.shape[1]
    drawn = rng.choice(sets, min(sets, max(1, calls // PLAIN_MINIBATCH)), replace=False)
    return _best_of(landscape, [(0, int(d)) for d in drawn], calls, trace)


def halving(landscape: Known, calls: int, seed: int, trace: Trace) -> Pick:
    """Successive halving over random candidates, a tenth of the calls of them, on common rows."""
    racing = _draw(landscape, 2 ** round(math.log2(calls / 10)), seed)
    rounds = max(1, math.ceil(math.log2(len(racing))))
    scores: dict[Key, list[float]] = {key: [] for key in racing}
    seen = 0
    for number in range(1, rounds + 1):
        share = calls * number // rounds - landscape.calls
        rows = range(seen, min(VAL_ROWS, seen + max(1, share // len(racing))))
        seen = rows.stop
        for key in racing:
            scores[key] += list(landscape.ask(key, rows)) if rows else []
        racing = sorted(racing, key=lambda key: -float(np.mean(scores[key])))[: (len(racing) + 1) // 2]
        trace.append((landscape.calls, racing[0]))
    return Pick(racing[0], float(np.mean(scores[racing[0]])))


def _draw(landscape: Known, count: int, seed: int) -> list[Key]:
    size = landscape.truth.size
    drawn = np.random.default_rng(seed).choice(size, min(max(1, count), size), replace=False)
    return [tuple(int(level) for level in np.unravel_index(index, landscape.shape)) for index in drawn]


def _best_of(landscape: Known, keys: list[Key], calls: int, trace: Trace) -> Pick:
    rows = range(min(VAL_ROWS, calls // len(keys)))
    scores: dict[Key, float] = {}
    for key in keys:
        scores[key] = float(landscape.ask(key, rows).mean())
        trace.append((landscape.calls, max(scores, key=lambda k: scores[k])))
    best = max(scores, key=lambda k: scores[k])
    return Pick(best, scores[best])


# ---- DSPy's MIPROv2


@dataclass(frozen=True)
class DspyMode:
    """One ``auto`` mode. Facts read from and counted in dspy 3.4.1 (``dspy_schedule.py`` counts them again)."""

    instructions: int
    demo_sets: int
    val_rows: int
    trials: int


DSPY_MODES = {
    "light": DspyMode(3, 6, 100, 10),
    "medium": DspyMode(6, 12, 300, 18),
    "heavy": DspyMode(9, 18, 1000, 27),
}
FULL_EVERY = 5


def dspy(name: str, *, sampler: str = "tpe", whole_pool: bool = False) -> Schedule:
    """Return MIPROv2's schedule: fresh random minibatches of 35, a full evaluation of the best mean after every five
    trials and at the end, the best full score wins; its own number of candidates drawn from the pool, or all of it."""
    mode = DSPY_MODES[name]

    def run(landscape: Known, calls: int, seed: int, trace: Trace) -> Pick:
        rng = np.random.default_rng(seed)
        sizes = landscape.shape if whole_pool else (mode.instructions, mode.demo_sets)
        axes = [_subset(rng, pool, size) for pool, size in zip(landscape.shape, sizes, strict=True)]
        names = ("instruction", "demo_set")
        space = {n: CategoricalDistribution(range(len(axis))) for n, axis in zip(names, axes, strict=True)}
        study = optuna.create_study(direction="maximize", sampler=_dspy_sampler(sampler, seed))
        full: dict[Key, float] = {}
        minibatches: dict[Key, list[float]] = {}

        def evaluate_fully(params: dict[str, int]) -> None:
            key = axes[0][params["instruction"]], axes[1][params["demo_set"]]
            full[key] = float(landscape.ask(key, range(mode.val_rows)).mean())
            study.add_trial(create_trial(params=params, distributions=space, value=full[key]))
            trace.append((landscape.calls, max(full, key=lambda k: full[k])))

        evaluate_fully({"instruction": 0, "demo_set": 0})
        params_of: dict[Key, dict[str, int]] = {}
        # The start counts as a trial but not as fully evaluated when it is suggested again.
        for number in range(1, mode.trials + 1):
            trial = study.ask(space)
            key = axes[0][trial.params["instruction"]], axes[1][trial.params["demo_set"]]
            params_of[key] = dict(trial.params)
            rows = rng.choice(mode.val_rows, PLAIN_MINIBATCH, replace=False)
            score = float(landscape.ask(key, rows).mean())
            study.tell(trial, score)
            minibatches.setdefault(key, []).append(score)
            if number % FULL_EVERY == 0 or number == mode.trials:
                waiting = [k for k in minibatches if k not in full]
                if waiting:
                    evaluate_fully(params_of[max(waiting, key=lambda k: float(np.mean(minibatches[k])))])
        best = max(full, key=lambda k: full[k])
        return Pick(best, full[best])

    return run


def _subset(rng: np.random.Generator, pool: int, size: int) -> list[int]:
    return [0, *(int(i) for i in 1 + rng.choice(pool - 1, min(size, pool) - 1, replace=False))]


def _dspy_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(
        seed=seed, multivariate=True, n_startup_trials=10, n_ei_candidates=24, group=False, constant_liar=True
    )
