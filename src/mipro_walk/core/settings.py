"""What the optimizer is told: plain numbers, already checked (``config.py`` translates TOML into this)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from mipro_walk.errors import ConfigError

AlgorithmName = Literal["mipro", "gepa"]
ALGORITHMS: Mapping[str, AlgorithmName] = {"mipro": "mipro", "gepa": "gepa"}
SamplerName = Literal["tpe", "tpe_multivariate", "random"]


def algorithm_named(name: str) -> AlgorithmName:
    """Return the algorithm of that name. Raises ConfigError if there is none."""
    if name not in ALGORITHMS:
        raise ConfigError(f"Unknown algorithm {name!r}.", f"Choose one of {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[name]


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """What every algorithm is told. Counts are rollouts unless a name says otherwise.

    Attributes:
        budget: most rollouts of the search, its preparation included; the final test is not in it.
        test_size: rows of the final test, for the baseline and for the winner; 0 leaves it out.
        max_time_seconds: wall time of the search and its preparation.
        target_score: the search stops when an estimate good enough to rely on reaches it (0..1).
        max_cost_usd: hard cap on money; ``None`` means no cap.
        max_unknown_fraction: share of unknown outcomes above which a score does not count.
        rng_seed: seeds every random choice; 0 is a seed like any other.
    """

    algorithm: ClassVar[AlgorithmName]

    budget: int = 100
    test_size: int = 100
    max_time_seconds: float = 1800.0
    target_score: float = 0.95
    max_cost_usd: float | None = None
    max_unknown_fraction: float = 0.25
    rng_seed: int = 0


@dataclass(frozen=True, slots=True)
class OptimizerSettings(SearchSettings):
    """Settings of MIPRO.

    Attributes:
        num_iterations: trials of the search; about one for every six rollouts uses a budget best.
        top_k: finalists of the last rung.
        generations: rounds of proposals; those after the first start from what the leader confuses.
        num_bootstrap_seeds: bootstrap rounds.
        num_instructions_per_module: instructions asked for in each round.
        num_demos: demonstrations in a set; 0 means none.
        num_demo_sets: demonstration sets to choose between, the empty one included.
        ablation_size: test rows on which the winner is taken apart, at most ``test_size``; 0 leaves it out.
        minibatch_size: rows of a trial of the first rung; 0 lets the plan choose.
    """

    algorithm: ClassVar[AlgorithmName] = "mipro"

    num_iterations: int = 10
    top_k: int = 2
    generations: int = 2
    num_bootstrap_seeds: int = 3
    num_instructions_per_module: int = 4
    num_demos: int = 2
    num_demo_sets: int = 8
    optimize_instructions: bool = True
    optimize_demos: bool = True
    ablation_size: int = 40
    minibatch_size: int = 0
    sampler: SamplerName = "tpe"


@dataclass(frozen=True, slots=True)
class GepaSettings(SearchSettings):
    """Settings of GEPA.

    Attributes:
        minibatch_size: train rows that a new instruction and its parent are compared on.
        pareto_set_size: val rows that every accepted instruction answers; 0 lets the plan choose.
    """

    algorithm: ClassVar[AlgorithmName] = "gepa"

    minibatch_size: int = 3
    pareto_set_size: int = 0

    @classmethod
    def like(cls, other: SearchSettings, **changes: Any) -> GepaSettings:
        """Return settings with what every algorithm is told taken from ``other``."""
        shared = {field.name: getattr(other, field.name) for field in fields(SearchSettings)}
        return cls(**{**shared, **changes})
