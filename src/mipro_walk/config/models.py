"""What a configuration means once it is checked: frozen data for the rest of the project."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from mipro_walk.config.sections import OutputMode, ProposerName, Provider
from mipro_walk.core.settings import AlgorithmName, GepaSettings, OptimizerSettings
from mipro_walk.types import fingerprint

PROPOSAL_TOKENS: Mapping[AlgorithmName, int] = {"mipro": 400, "gepa": 1_000}
LOCAL_PROPOSAL_TOKENS, REASONED_PROPOSAL_TOKENS = 120, 8192
"""Longest instruction by default; the small local model rambles on, at twenty seconds an answer. GEPA asks for all that
was learned of the task, so its instructions are longer."""
Role = Literal["policy", "meta"]
"""Who asks a model: the task, or the proposer of instructions."""
TERMINATION_KEYS = ("budget", "max_time_seconds", "target_score", "max_cost_usd")
"""Fields of `OptimizerSettings` that are written in ``[prompt_learning.termination_config]``."""


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How one model is asked, beyond its name. ``None`` means that nothing was said.

    Attributes:
        api_key_env: name of the variable that holds the key; ``None`` is the provider's own.
        send_temperature: ``False`` or ``None``.
        timeout_seconds: longest wait for one call; ``None`` is the run's.
        input_price_per_million, output_price_per_million: US dollars; both or none.
    """

    api_key_env: str | None = None
    reasoning_effort: str | None = None
    send_temperature: bool | None = None
    extra_body: Mapping[str, Any] | None = None
    extra_headers: Mapping[str, str] | None = None
    max_concurrent: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout_seconds: float | None = None
    input_price_per_million: float | None = None
    output_price_per_million: float | None = None

    @property
    def prices(self) -> tuple[float, float] | None:
        """US dollars for a million prompt and answer tokens, if they were given."""
        if self.input_price_per_million is None or self.output_price_per_million is None:
            return None
        return self.input_price_per_million, self.output_price_per_million

    def identity(self) -> dict[str, Any]:
        """Return what determines an answer: parameters, body and headers; not limits, prices or keys."""
        values: dict[str, Any] = {
            "reasoning_effort": self.reasoning_effort,
            "send_temperature": self.send_temperature,
            "extra_body": dict(self.extra_body or {}) or None,
            "extra_headers": dict(self.extra_headers or {}) or None,
        }
        return _without_none(values)


def proposal_tokens(provider: str, options: ModelOptions, algorithm: AlgorithmName) -> int:
    """Return how long an instruction of the meta-model may be if nothing is said."""
    if options.reasoning_effort:
        return REASONED_PROPOSAL_TOKENS
    return LOCAL_PROPOSAL_TOKENS if provider == "local" else PROPOSAL_TOKENS[algorithm]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model: what to ask and how.

    Attributes:
        base_url: set exactly when ``provider`` is ``custom``.
        max_completion_tokens: longest answer.
    """

    provider: Provider
    model: str
    base_url: str | None
    max_completion_tokens: int
    options: ModelOptions = ModelOptions()

    @property
    def is_free(self) -> bool:
        """Whether calls are known to cost nothing."""
        return self.provider == "local" or self.options.prices == (0.0, 0.0)

    def identity(self) -> dict[str, Any]:
        """Return what determines an answer beside the messages."""
        where = {} if self.base_url is None else {"base_url": self.base_url}
        return {**where, **self.options.identity()}


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
    options: ModelOptions = ModelOptions()


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
    meta: ModelConfig
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
    def meta_model(self) -> str:
        """The meta-model's name."""
        return self.meta.model

    @property
    def meta_model_provider(self) -> Provider:
        """Who serves the meta-model."""
        return self.meta.provider

    @property
    def meta_as_policy(self) -> bool:
        """Whether one model, asked in one way, has both roles."""
        return replace(self.model("policy"), max_completion_tokens=self.meta.max_completion_tokens) == self.meta

    def model(self, role: Role) -> ModelConfig:
        """Return the model of a role."""
        if role == "meta":
            return self.meta
        policy = self.policy
        return ModelConfig(policy.provider, policy.model, policy.base_url, policy.max_completion_tokens, policy.options)

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
        if meta := self._meta_table():
            section["meta"] = meta
        if self.env_config:
            section["env_config"] = copy.deepcopy(dict(self.env_config))
        section[self.settings.algorithm] = self._search_table()
        section["termination_config"] = self._settings_table(inside=True)
        return {"prompt_learning": section}

    def _policy_table(self) -> dict[str, Any]:
        values = {f.name: getattr(self.policy, f.name) for f in fields(self.policy) if f.name != "options"}
        return {"inference_mode": "synth_hosted", **_without_none(values), **_options_table(self.policy.options)}

    def _meta_table(self) -> dict[str, Any]:
        """Return what is said of the meta-model; a resolved value is written also where it is the policy's."""
        table = _options_table(self.meta.options)
        if self.meta.base_url is not None:
            table["base_url"] = self.meta.base_url
        if self.meta.max_completion_tokens != proposal_tokens(
            self.meta.provider, self.meta.options, self.settings.algorithm
        ):
            table["max_completion_tokens"] = self.meta.max_completion_tokens
        return table

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


def _options_table(options: ModelOptions) -> dict[str, Any]:
    return copy.deepcopy(_without_none({f.name: getattr(options, f.name) for f in fields(options)}))


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
