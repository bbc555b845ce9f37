"""Ready-made settings for common situations; ``configs/`` holds each of them as a file."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

from mipro_walk.config.published import ROOT, SHARED
from mipro_walk.core.settings import AlgorithmName
from mipro_walk.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Profile:
    """Named settings.

    Attributes:
        description: one sentence: for whom, and what it needs.
        document: what the profile sets, as a ``{"prompt_learning": …}`` document.
        needs_key: the environment variable a run needs, or ``None``.
    """

    name: str
    description: str
    document: dict[str, Any] = field(repr=False)
    needs_key: str | None = None


def _document(
    policy: dict[str, Any], mipro: dict[str, Any], termination: dict[str, Any], env_config: dict[str, Any]
) -> dict[str, Any]:
    root: dict[str, Any] = {"algorithm": "mipro", "task_app_url": "http://127.0.0.1:8002", "results_folder": "results"}
    root["policy"] = {"inference_mode": "synth_hosted", **policy}
    if env_config:
        root["env_config"] = env_config
    root["mipro"], root["termination_config"] = mipro, termination
    return {ROOT: root}


def _pools(train: int, val: int, test: int, ablation: int = 40) -> dict[str, Any]:
    # Written out seed by seed: the published client does not know ranges here.
    return {
        "bootstrap_train_seeds": list(range(train)),
        "train_split": "train",
        "online_pool": list(range(val)),
        "val_split": "val",
        "test_pool": list(range(test)),
        "test_split": "test",
        "test_size": test,
        "ablation_size": ablation,
    }


def _search(iterations: int, rounds: int, instructions: int, demos: int) -> dict[str, Any]:
    return {
        "num_iterations": iterations,
        "top_k": 2,
        "generations": 2,
        "minibatch_size": 0,
        "rng_seed": 0,
        "num_bootstrap_seeds": rounds,
        "num_instructions_per_module": instructions,
        "optimize_instructions": True,
        "num_demos": demos,
        "num_demo_sets": 8,
        "optimize_demos": True,
    }


def _hosted(provider: str, model: str, mode: str = "tool_calls") -> tuple[dict[str, Any], dict[str, Any]]:
    policy = {
        "provider": provider,
        "model": model,
        "temperature": 0.0,
        "max_completion_tokens": 64,
        "output_mode": mode,
    }
    # Said outright, because the published client fills in a meta-model and a concurrency of its own.
    return policy, {"meta_model": model, "meta_model_provider": provider, "max_concurrent": 8}


def _walkthrough(name: str, provider: str, model: str, key: str) -> Profile:
    policy, meta = _hosted(provider, model)
    return Profile(
        name,
        f"All 77 intents with {model}, about 580 calls; needs {key}.",
        _document(policy, _search(10, 3, 4, 2) | meta | _pools(308, 154, 200), _limits(100, 1800), {}),
        key,
    )


def _limits(budget: int, seconds: int) -> dict[str, Any]:
    return {"budget": budget, "max_time_seconds": seconds, "target_score": 0.95}


def _quick_local() -> Profile:
    policy, meta = _hosted("local", "smollm2-135m-instruct", "structured")
    return Profile(
        "quick-local",
        "Ten intents with a small model on this machine, about 440 calls; needs no key and no network.",
        _document(
            policy,
            _search(10, 3, 4, 10) | meta | {"max_concurrent": 2} | _pools(70, 40, 130),
            _limits(100, 1800),
            {"num_intents": 10},
        ),
    )


def _production() -> Profile:
    policy, meta = _hosted("openai", "gpt-4o-mini")
    return Profile(
        "production",
        "A thorough search over all 77 intents, about 2,200 calls; needs OPENAI_API_KEY.",
        _document(policy, _search(50, 10, 10, 4) | meta | _pools(500, 308, 500, 100), _limits(1000, 7200), {}),
        "OPENAI_API_KEY",
    )


def with_algorithm(document: dict[str, Any], algorithm: AlgorithmName) -> dict[str, Any]:
    """Return a profile's document for another algorithm: the same rows, models, limits and seed.

    Raises:
        ConfigError: GEPA's profile has none of MIPRO's settings.
    """
    root = document[ROOT]
    if root["algorithm"] == algorithm:
        return document
    if algorithm == "mipro":
        raise ConfigError("The profile 'gepa' is for GEPA.", "Choose profile walkthrough for MIPRO on the same rows.")
    own = {"minibatch_size": 3, "pareto_set_size": 0}
    shared = {key: value for key, value in root["mipro"].items() if key in SHARED}
    tables = {"gepa" if key == "mipro" else key: own | shared if key == "mipro" else root[key] for key in root}
    return {ROOT: tables | {"algorithm": algorithm}}


def describe_profile(name: str, algorithm: AlgorithmName | None = None) -> str:
    """Return a profile's sentence, for another algorithm than its own a shorter one."""
    profile = get_profile(name)
    if algorithm is None or profile.document[ROOT]["algorithm"] == algorithm:
        return profile.description
    return f"for {algorithm.upper()}, with the same rows, models and limits."


def _gepa() -> Profile:
    like = _walkthrough("walkthrough", "openai", "gpt-4o-mini", "OPENAI_API_KEY")
    return Profile(
        "gepa",
        "GEPA on all 77 intents with gpt-4o-mini, about 500 calls; needs OPENAI_API_KEY.",
        with_algorithm(like.document, "gepa"),
        like.needs_key,
    )


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        _walkthrough("walkthrough", "openai", "gpt-4o-mini", "OPENAI_API_KEY"),
        _walkthrough("groq", "groq", "llama-3.1-8b-instant", "GROQ_API_KEY"),
        _quick_local(),
        _production(),
        _gepa(),
    )
}


def get_profile(name: str) -> Profile:
    """Return a profile by its name; its document is the caller's own, to change as it likes.

    Raises:
        ConfigError: no such profile.
    """
    if name not in PROFILES:
        raise ConfigError(f"Unknown profile {name!r}.", f"Choose one of {', '.join(PROFILES)}.")
    profile = PROFILES[name]
    return replace(profile, document=copy.deepcopy(profile.document))
