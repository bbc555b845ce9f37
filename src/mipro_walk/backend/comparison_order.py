"""What is to be compared, and who hears how it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

from mipro_walk.comparison.methods import Method
from mipro_walk.comparison.runs import MissingRun, Run
from mipro_walk.config import RunConfig
from mipro_walk.core.settings import GepaSettings, OptimizerSettings, SearchSettings
from mipro_walk.types import Event, Outcome

NO_TIME_LIMIT = 30 * 86_400.0


@dataclass(frozen=True)
class Order:
    """What is to be compared. ``config`` gives rows, models, budget and everything else that the methods share."""

    config: RunConfig
    methods: Sequence[Method]
    rng_seeds: Sequence[int]

    def runs(self) -> list[tuple[Method, int]]:
        """Return every run in the order in which they are made: seed by seed, so that each method soon has one."""
        drawn = [(method, seed) for seed in self.rng_seeds for method in self.methods if method.is_drawn]
        return [*((method, 0) for method in self.methods if not method.is_drawn), *drawn]

    def config_of(self, method: Method, rng_seed: int) -> RunConfig:
        """Return the configuration of one run, with the settings of its algorithm."""
        shared = self.common()
        settings: OptimizerSettings | GepaSettings = method.settings(mipro_settings(shared))
        if method.algorithm == "gepa":
            settings = gepa_settings(shared)
        return replace(shared, settings=replace(settings, rng_seed=rng_seed))

    def common(self) -> RunConfig:
        """Return the configuration without what does not belong to all runs alike.

        The ablation explains a result and decides nothing; where files go changes nothing.
        """
        settings = replace(self.config.settings, rng_seed=0, max_time_seconds=NO_TIME_LIMIT, max_cost_usd=None)
        if isinstance(settings, OptimizerSettings):
            settings = replace(settings, ablation_size=0)
        return replace(self.config, settings=settings, results_folder="results")


def mipro_settings(config: RunConfig) -> OptimizerSettings:
    """Return MIPRO's settings of a configuration; one for GEPA gives what both share, and defaults."""
    if isinstance(config.settings, OptimizerSettings):
        return config.settings
    shared = {field.name: getattr(config.settings, field.name) for field in fields(SearchSettings)}
    return OptimizerSettings(**shared, ablation_size=0)


def gepa_settings(config: RunConfig) -> GepaSettings:
    """Return GEPA's settings of a configuration; one for MIPRO gives what both share, and defaults."""
    return config.settings if isinstance(config.settings, GepaSettings) else GepaSettings.like(config.settings)


class Watch(Protocol):
    """Hears how a comparison goes. Called from the thread that runs it, ``outcome`` from others, too."""

    def notice(self, text: str) -> None:
        """Hear what a person should know before the first call."""
        ...

    def started(self, name: str, number: int, total: int, planned: int) -> None:
        """Hear that a run starts; ``planned`` rollouts at most."""
        ...

    def event(self, event: Event) -> None:
        """Hear an event of the run."""
        ...

    def outcome(self, outcome: Outcome, made: bool) -> None:
        """Hear that a rollout ended."""
        ...

    def ended(self, run: Run, recorded: bool) -> None:
        """Hear that a run has ended; ``recorded`` tells that it had ended in an earlier session."""
        ...

    def failed(self, missing: MissingRun) -> None:
        """Hear that a run failed."""
        ...
