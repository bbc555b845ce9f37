"""Which new candidates join the race: Optuna's samplers, asked and told in memory.

The study is built anew for each rung from the pooled estimates of that moment, so an early, unlucky minibatch is not
held against a candidate for ever, and a later generation may widen the space (Optuna's categories are fixed per study).
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice, zip_longest

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from mipro_walk.core.pooling import Estimate
from mipro_walk.core.search_space import Key, SearchSpace, StageSpace
from mipro_walk.core.settings import SamplerName

optuna.logging.set_verbosity(optuna.logging.WARNING)

MAX_REPEATS = 20
"""After so many known candidates in a row the sampler has nothing new to say, and fewer suggestions are accepted."""
EI_CANDIDATES = 24
SPREAD_TURNS = 4
"""Turns for each candidate of the start: with several stages a turn may repeat a candidate."""
MAX_TOLD = 500
"""Candidates told to a sampler: TPE sorts its whole history for every suggestion."""
BEST_TOLD = 100
"""How many of them are the best ones; the rest is an even selection of all others."""


def suggest(
    space: SearchSpace,
    estimates: Mapping[Key, Estimate],
    count: int,
    *,
    sampler: SamplerName,
    rng_seed: int,
    rung: int,
) -> list[Key]:
    """Return at most ``count`` different candidates without an estimate, in the order they were suggested.

    Deterministic in its arguments. Fewer come if the sampler keeps naming candidates that are known.
    """
    distributions: dict[str, BaseDistribution] = {
        axis: CategoricalDistribution(range(size)) for axis, size in zip(axis_names(space), space.sizes, strict=True)
    }
    study = optuna.create_study(direction="maximize", sampler=_make_sampler(sampler, _derived_seed(rng_seed, rung)))
    for key, estimate in _told(estimates):
        params = dict(zip(distributions, key, strict=True))
        study.add_trial(create_trial(params=params, distributions=distributions, value=estimate.mean))
    suggested: dict[Key, None] = {}
    repeats = 0
    while len(suggested) < count and repeats < MAX_REPEATS:
        trial = study.ask(distributions)
        key = tuple(int(trial.params[axis]) for axis in distributions)
        # Not scored yet: a failed trial is one that the sampler leaves out of its model.
        study.tell(trial, state=TrialState.FAIL)
        is_new = key not in estimates and key not in suggested
        repeats = 0 if is_new else repeats + 1
        if is_new:
            suggested[key] = None
    return list(suggested)


def axis_names(space: SearchSpace) -> list[str]:
    """Return what the sampler calls each axis, in the order of a key."""
    names = [(f"instruction_{stage}", f"demo_set_{stage}") for stage in range(1, len(space.stages))]
    return ["instruction", "demo_set", *(name for pair in names for name in pair)]


def spread(space: SearchSpace, count: int, rng_seed: int) -> list[Key]:
    """Return at most ``count`` different candidates that take each instruction and demo set as evenly as possible."""
    rng = random.Random(f"spread-{rng_seed}")  # noqa: S311 - sampling, not security
    first, *further = space.stages
    axes = [_rounds(size, axis == 1, rng) for stage in further for axis, size in enumerate(stage.sizes)]
    keys: dict[Key, None] = {}
    for pair, *rest in islice(zip(_diagonal(first, rng), *axes, strict=False), SPREAD_TURNS * count):
        keys[(*pair, *rest)] = None
        keys.pop(space.baseline_key, None)
        if len(keys) == count:
            return list(keys)
    # Only a space that is hardly larger than the count comes here.
    left = [key for key in space if key not in keys and key != space.baseline_key]
    return [*keys, *rng.sample(left, min(len(left), count - len(keys)))]


def crossed(leader: Key, fresh: Sequence[Sequence[int]], known: Collection[Key]) -> list[Key]:
    """Return the new levels of the axes in turn, each beside the leader's other parts. ``fresh`` may be empty."""
    lines = [[(*leader[:axis], level, *leader[axis + 1 :]) for level in levels] for axis, levels in enumerate(fresh)]
    return [key for turn in zip_longest(*lines) for key in turn if key is not None and key not in known]


def _diagonal(stage: StageSpace, rng: random.Random) -> Iterator[tuple[int, int]]:
    """Yield the pairs of a stage, again and again: all levels of both axes in turn, every pair once in each pass."""
    rows, columns = (list(range(size)) for size in stage.sizes)
    rng.shuffle(rows)
    rng.shuffle(columns)
    _let_empty_set_wait(columns)
    while True:
        for turn in range(len(rows) * len(columns)):
            # The added quotient shifts the diagonal once it has come round, so that no pair repeats.
            shift = turn // math.lcm(len(rows), len(columns))
            yield rows[(turn + shift) % len(rows)], columns[turn % len(columns)]


def _rounds(size: int, is_demo_set: bool, rng: random.Random) -> Iterator[int]:
    """Yield all levels of one axis, round by round.

    Each round has an order of its own, so that a choice of one stage does not always meet the same one of another.
    """
    levels = list(range(size))
    rng.shuffle(levels)
    if is_demo_set:
        _let_empty_set_wait(levels)
    while True:
        yield from levels
        rng.shuffle(levels)


def _let_empty_set_wait(levels: list[int]) -> None:
    """Put the empty demonstration set last: demonstrations usually matter most."""
    levels.sort(key=lambda level: level == 0)


def _told(estimates: Mapping[Key, Estimate]) -> list[tuple[Key, Estimate]]:
    ranked = sorted(estimates.items(), key=lambda item: (-item[1].mean, item[0]))
    best, others = ranked[:BEST_TOLD], ranked[BEST_TOLD:]
    step = max(1, math.ceil(len(others) / (MAX_TOLD - BEST_TOLD)))
    return [*best, *others[::step]]


def _make_sampler(name: SamplerName, seed: int) -> BaseSampler:
    if name == "random":
        return RandomSampler(seed=seed)
    # Every argument that is not deprecated is given: the defaults changed between Optuna 4 and 5. The start-up trials
    # are spread over the axes by us, so the model guides from its first question on. Two independent axes recombine
    # good parts that were never seen together; the joint model (multivariate) stays near pairs it has seen.
    return TPESampler(
        n_startup_trials=1,
        n_ei_candidates=EI_CANDIDATES,
        multivariate=name == "tpe_multivariate",
        group=False,
        constant_liar=False,
        seed=seed,
    )


def _derived_seed(rng_seed: int, rung: int) -> int:
    return int.from_bytes(hashlib.sha256(f"sampler-{rng_seed}-{rung}".encode()).digest()[:4], "big")
