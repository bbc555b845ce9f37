"""What a configuration means once it is checked: frozen data for the rest of the project."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from mipro_walk.config.sections import OutputMode, ProposerName, Provider
from mipro_walk.core.settings import GepaSettings, OptimizerSettings
from mipro_walk.types import fingerprint

TERMINATION_KEYS = ("budget", "max_time_seconds", "target_score", "max_cost_usd")
"""Fields of `OptimizerSettings` that are written in ``[prompt_learning.termination_config]``."""


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """The model that answers the task.

    Attributes:
        base_url: set exactly when ``provider`` is ``custom``.
    """

    provider: Provider
    model: str
    temperature: float
    max_completion_tokens: int
    output_mode: OutputMode
    base_url: str | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """Rows of one purpose.

    Attributes:
        split: the task app's split the seeds count in; ``None`` is the app's default split.
        seeds: row numbers in the order of use; ``None`` means all rows there are, up to the caller's cap.
    """

    split: str | None
    seeds: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Pools:
    """The three pools. Where both name the same split, their seeds are disjoint."""

    train: Pool
    val: Pool
    test: Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One checked configuration, every default filled in.

    Two configurations are equal when they mean the same run: ``ignored``, ``origins`` and the key are left out.

    Attributes:
        settings: what the optimizer core is told; their type is the algorithm.
        env_config: free table for the task app (JSON values only).
        baseline_instruction: the instruction to start from; ``None`` takes the task app's own.
        max_concurrent: rollouts at the same time.
        call_timeout_seconds: longest wait for one model call.
        max_retries: further tries of a failed call.
        ignored: dotted names that were accepted and are not used here.
        origins: for every dotted key, where its value came from: ``file line 12``, an environment variable's
            name, ``flag`` or ``default``.
    """

    task_app_url: str
    results_folder: str
    policy: PolicyConfig
    pools: Pools
    settings: OptimizerSettings | GepaSettings
    proposer: ProposerName
    meta_model: str
    meta_model_provider: Provider
    max_concurrent: int
    call_timeout_seconds: float
    max_retries: int
    env_config: Mapping[str, Any] = field(default_factory=dict)
    baseline_instruction: str | None = None
    task_app_id: str | None = None
    task_app_api_key: SecretStr | None = field(default=None, compare=False)
    ignored: tuple[str, ...] = field(default=(), compare=False)
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def config_hash(self) -> str:
        """SHA-256 (64 hex characters) of the resolved document."""
        return fingerprint(self.as_dict())

    def results_path(self, config_path: Path) -> Path:
        """Return ``results_folder``, relative to the folder of the configuration file."""
        return config_path.parent / self.results_folder

    def as_dict(self) -> dict[str, Any]:
        """Return the resolved document ``{"prompt_learning": …}``: plain JSON values, no secret.

        Parsing it again gives an equal configuration.
        """
        section: dict[str, Any] = {"algorithm": self.settings.algorithm, "task_app_url": self.task_app_url}
        if self.task_app_id is not None:
            section["task_app_id"] = self.task_app_id
        section["results_folder"] = self.results_folder
        if self.baseline_instruction is not None:
            message = {"role": "system", "pattern": self.baseline_instruction, "order": 0}
            section["initial_prompt"] = {"messages": [message]}
        section["policy"] = self._policy_table()
        if self.env_config:
            section["env_config"] = copy.deepcopy(dict(self.env_config))
        section[self.settings.algorithm] = self._search_table()
        section["termination_config"] = self._settings_table(inside=True)
        return {"prompt_learning": section}

    def _policy_table(self) -> dict[str, Any]:
        values = {f.name: getattr(self.policy, f.name) for f in fields(self.policy)}
        return {"inference_mode": "synth_hosted", **_without_none(values)}

    def _search_table(self) -> dict[str, Any]:
        return {
            **self._settings_table(inside=False),
            "proposer": self.proposer,
            "meta_model": self.meta_model,
            "meta_model_provider": self.meta_model_provider,
            "max_concurrent": self.max_concurrent,
            "call_timeout_seconds": self.call_timeout_seconds,
            "max_retries": self.max_retries,
            **self._pool_keys(),
        }

    def _settings_table(self, *, inside: bool) -> dict[str, Any]:
        values = {f.name: getattr(self.settings, f.name) for f in fields(self.settings)}
        return _without_none({k: v for k, v in values.items() if (k in TERMINATION_KEYS) == inside})

    def _pool_keys(self) -> dict[str, Any]:
        named = {"train": self.pools.train, "val": self.pools.val, "test": self.pools.test}
        keys: dict[str, Any] = {}
        # Naming one split would give the other pools splits of their own: all three or none.
        if all(pool.split is not None for pool in named.values()):
            keys.update({f"{name}_split": pool.split for name, pool in named.items()})
        seeds_key = {"train": "bootstrap_train_seeds", "val": "online_pool", "test": "test_pool"}
        keys.update({seeds_key[name]: list(p.seeds) for name, p in named.items() if p.seeds is not None})
        return keys


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
