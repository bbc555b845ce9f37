"""Which new candidates join the race: Optuna's samplers, asked and told in memory.

The study is built anew for each rung from the pooled estimates of that moment, so an early, unlucky minibatch is not
held against a candidate for ever, and a later generation may widen the space (Optuna's categories are fixed per study).
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Collection, Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from mipro_walk.core.pooling import Estimate, Key
from mipro_walk.core.search_space import BASELINE, SearchSpace
from mipro_walk.core.settings import SamplerName

optuna.logging.set_verbosity(optuna.logging.WARNING)

MAX_REPEATS = 20
"""After so many known candidates in a row the sampler has nothing new to say, and fewer suggestions are accepted."""
EI_CANDIDATES = 24
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
        "instruction": CategoricalDistribution(range(len(space.instructions))),
        "demo_set": CategoricalDistribution(range(len(space.demo_sets))),
    }
    study = optuna.create_study(direction="maximize", sampler=_make_sampler(sampler, _derived_seed(rng_seed, rung)))
    for key, estimate in _told(estimates):
        params = {"instruction": key[0], "demo_set": key[1]}
        study.add_trial(create_trial(params=params, distributions=distributions, value=estimate.mean))
    suggested: dict[Key, None] = {}
    repeats = 0
    while len(suggested) < count and repeats < MAX_REPEATS:
        trial = study.ask(distributions)
        key = (int(trial.params["instruction"]), int(trial.params["demo_set"]))
        # Not scored yet: a failed trial is one that the sampler leaves out of its model.
        study.tell(trial, state=TrialState.FAIL)
        is_new = key not in estimates and key not in suggested
        repeats = 0 if is_new else repeats + 1
        if is_new:
            suggested[key] = None
    return list(suggested)


def spread(space: SearchSpace, count: int, rng_seed: int) -> list[Key]:
    """Return at most ``count`` different candidates that take each instruction and demo set as evenly as possible."""
    rng = random.Random(f"spread-{rng_seed}")  # noqa: S311 - sampling, not security
    rows = list(range(len(space.instructions)))
    columns = list(range(len(space.demo_sets)))
    rng.shuffle(rows)
    rng.shuffle(columns)
    # Demonstrations usually matter most: let the empty set wait.
    columns.sort(key=lambda column: column == 0)
    keys: list[Key] = []
    for turn in range(space.size):
        # The added quotient shifts the diagonal once it has come round, so that no key repeats.
        shift = turn // math.lcm(len(rows), len(columns))
        key = (rows[(turn + shift) % len(rows)], columns[turn % len(columns)])
        if key != BASELINE:
            keys.append(key)
        if len(keys) == count:
            break
    return keys


def crossed(leader: Key, instructions: Sequence[int], demo_sets: Sequence[int], known: Collection[Key]) -> list[Key]:
    """Return new instructions and new demo sets in turn, each beside the leader's other half."""
    pairs = [(i, leader[1]) for i in instructions], [(leader[0], d) for d in demo_sets]
    turns = [pair for turn in zip(*pairs, strict=False) for pair in turn]
    rest = max(pairs, key=len)[len(turns) // 2 :]
    return [key for key in (*turns, *rest) if key not in known]


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
