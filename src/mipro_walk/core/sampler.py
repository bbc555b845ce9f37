"""Which candidate next: Optuna's ask and tell, in memory. The only importer of optuna."""

from __future__ import annotations

import hashlib
import math
import random

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from mipro_walk.core.search_space import BASELINE, SearchSpace
from mipro_walk.core.settings import OptimizerSettings

optuna.logging.set_verbosity(optuna.logging.WARNING)

STARTUP_SHARE = 0.4
"""Share of the iterations that spread over the space before the model guides: Optuna's own default of 10
start-up trials would make a ten-iteration run a random search."""


class Sampler:
    """Suggests keys of the search space and learns from scores. Deterministic in ``settings.rng_seed``."""

    def __init__(self, space: SearchSpace, settings: OptimizerSettings) -> None:
        self._distributions: dict[str, BaseDistribution] = {
            "instruction": CategoricalDistribution(tuple(range(len(space.instructions)))),
            "demo_set": CategoricalDistribution(tuple(range(len(space.demo_sets)))),
        }
        self.num_startup = min(settings.num_iterations, max(2, round(settings.num_iterations * STARTUP_SHARE)))
        self._study = optuna.create_study(direction="maximize", sampler=self._make_sampler(settings))
        self._open: dict[tuple[int, int], Trial] = {}
        for instruction, demo_set in _spread(space, self.num_startup, settings.rng_seed):
            self._study.enqueue_trial({"instruction": instruction, "demo_set": demo_set})

    def add(self, key: tuple[int, int], score: float) -> None:
        """Tell a score that was not asked for, such as the baseline's."""
        params = {"instruction": key[0], "demo_set": key[1]}
        self._study.add_trial(optuna.trial.create_trial(params=params, distributions=self._distributions, value=score))

    def ask(self) -> tuple[int, int]:
        """Return the key of the next candidate; the same key may come again and then means *more rows*."""
        trial = self._study.ask(self._distributions)
        key = (int(trial.params["instruction"]), int(trial.params["demo_set"]))
        self._open[key] = trial
        return key

    def ask_for(self, key: tuple[int, int]) -> tuple[int, int]:
        """Open a question for a key of the caller's choice."""
        self._study.enqueue_trial({"instruction": key[0], "demo_set": key[1]})
        return self.ask()

    def tell(self, key: tuple[int, int], score: float | None) -> None:
        """Answer the open question for ``key``; ``None`` says that nothing was learned."""
        trial = self._open.pop(key)
        if score is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, score)

    def _make_sampler(self, settings: OptimizerSettings) -> BaseSampler:
        seed = _derived_seed(settings.rng_seed)
        if settings.sampler == "random":
            return RandomSampler(seed=seed)
        # Every argument that is not deprecated is given: the defaults changed between Optuna 4 and 5.
        return TPESampler(
            n_startup_trials=self.num_startup,
            n_ei_candidates=64,
            multivariate=True,
            group=False,
            constant_liar=False,
            seed=seed,
        )


def _spread(space: SearchSpace, count: int, rng_seed: int) -> list[tuple[int, int]]:
    """Return ``count`` different keys that take each index of both axes as evenly as possible."""
    rng = random.Random(f"spread-{rng_seed}")  # noqa: S311 - sampling, not security
    rows = list(range(len(space.instructions)))
    columns = list(range(len(space.demo_sets)))
    rng.shuffle(rows)
    rng.shuffle(columns)
    # Demonstrations usually matter most: let the empty set wait.
    columns.sort(key=lambda column: column == 0)
    keys: list[tuple[int, int]] = []
    for turn in range(space.size):
        # The added quotient shifts the diagonal once it has come round, so that no key repeats.
        shift = turn // math.lcm(len(rows), len(columns))
        key = (rows[(turn + shift) % len(rows)], columns[turn % len(columns)])
        if key != BASELINE and key not in keys:
            keys.append(key)
        if len(keys) == count:
            break
    return keys


def _derived_seed(rng_seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"sampler-{rng_seed}".encode()).digest()[:4], "big")
