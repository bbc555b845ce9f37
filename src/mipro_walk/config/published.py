"""Where a key may be written besides its own place, and which published keys are accepted without effect.

The published ``synth-ai`` 0.3.1 client sends every default of its own models along, so its names must pass here
even where this version does something else. A table is named by its TOML name; ``""`` is the top of the file.
"""

from __future__ import annotations

from mipro_walk.config.sections import SECTIONS

TOP, ROOT = "", "prompt_learning"
POLICY, MIPRO, TERMINATION = f"{ROOT}.policy", f"{ROOT}.mipro", f"{ROOT}.termination_config"
GEPA = f"{ROOT}.gepa"
META = f"{ROOT}.meta"
PLAIN_HOMES = (ROOT, MIPRO, GEPA, TERMINATION, POLICY, META)
"""Where a key without its table is looked for, in this order: ``max_concurrent`` alone is the run's."""

Place = tuple[str, str]
"""A section and a key in it."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_POOLS = ("bootstrap_train_seeds", "online_pool", "test_pool", "val_seeds")
_LIMITS = {"max_rollouts": "budget", "max_spend_usd": "max_cost_usd", "max_wall_clock_seconds": "max_time_seconds"}

ROUTES: dict[str, dict[str, Place]] = {
    table: {key: (table, key) for key in section.model_fields} for table, section in SECTIONS.items()
}
"""For each table, the keys that may be written there and the place each one means."""
ROUTES[TOP] = {"results_folder": (ROOT, "results_folder")}
ROUTES[ROOT] |= {"task_app_api_key": (ROOT, "task_app_api_key")} | {key: (MIPRO, key) for key in _POOLS}
ROUTES[MIPRO] |= {key: (TERMINATION, key) for key in SECTIONS[TERMINATION].model_fields}
ROUTES[MIPRO] |= {alias: (TERMINATION, key) for alias, key in _LIMITS.items()}
ROUTES[MIPRO] |= {"batch_size": (MIPRO, "minibatch_size")}
ROUTES[MIPRO] |= {key: (ROOT, key) for key in ("task_app_url", "task_app_id", "task_app_api_key")}
ROUTES[META] |= {"model": (MIPRO, "meta_model"), "provider": (MIPRO, "meta_model_provider")}
ROUTES[TERMINATION] |= {alias: (TERMINATION, key) for alias, key in _LIMITS.items()}
ROUTES[TERMINATION] |= {"batch_size": (MIPRO, "minibatch_size")}

SHARED = _words(
    "rng_seed proposer meta_model meta_model_provider bootstrap_train_seeds train_split online_pool val_seeds "
    "val_split test_pool test_split test_size max_unknown_fraction max_concurrent call_timeout_seconds max_retries"
)
"""Keys of ``[prompt_learning.mipro]`` that mean the same to both algorithms. GEPA's table may hold them as well."""
ROUTES[GEPA] |= {key: (MIPRO, key) for key in sorted(SHARED)}
ROUTES[GEPA] |= {key: (TERMINATION, key) for key in SECTIONS[TERMINATION].model_fields}
ROUTES[GEPA] |= {alias: (TERMINATION, key) for alias, key in _LIMITS.items()}
ROUTES[GEPA] |= {
    "rollout_budget": (TERMINATION, "budget"),
    "max_concurrent_rollouts": (MIPRO, "max_concurrent"),
    "mutation_llm_model": (MIPRO, "meta_model"),
    "mutation_llm_provider": (MIPRO, "meta_model_provider"),
}
ROUTES[f"{GEPA}.rollout"] = {
    "budget": (TERMINATION, "budget"),
    "max_concurrent": (MIPRO, "max_concurrent"),
    "minibatch_size": (GEPA, "minibatch_size"),
}
ROUTES[f"{GEPA}.evaluation"] = {
    "seeds": (GEPA, "evaluation_seeds"),
    "train_seeds": (GEPA, "evaluation_seeds"),
    "validation_seeds": (GEPA, "validation_seeds"),
    "val_seeds": (GEPA, "validation_seeds"),
}
ROUTES[f"{GEPA}.mutation"] = {
    "llm_model": (MIPRO, "meta_model"),
    "llm_provider": (MIPRO, "meta_model_provider"),
}
ROUTES[f"{GEPA}.archive"] = {"pareto_set_size": (GEPA, "pareto_set_size")}
ROUTES[f"{GEPA}.token"] = {"max_spend_usd": (TERMINATION, "max_cost_usd")}
ROUTES[f"{GEPA}.population"] = {}

SUBTABLES = {
    TOP: (ROOT,),
    ROOT: ("policy", "meta", "mipro", "gepa", "termination_config", "env_config", "initial_prompt"),
}
SUBTABLES[GEPA] = tuple(table.removeprefix(f"{GEPA}.") for table in ROUTES if table.startswith(f"{GEPA}."))
"""Tables inside tables that are read."""

CLIENT_DEFAULTS: dict[Place, object] = {
    (MIPRO, "batch_size"): 32,
    (f"{GEPA}.mutation", "llm_provider"): "groq",
    (f"{GEPA}.rollout", "max_concurrent"): 20,
    (f"{GEPA}.rollout", "minibatch_size"): 8,
    (f"{GEPA}.archive", "pareto_set_size"): 64,
}
"""Values the client writes unasked beside our own key: in a submitted body they contradict nothing."""


IGNORED: dict[str, frozenset[str]] = {
    TOP: frozenset({"display"}),
    ROOT: _words("judge verifier proxy_models env_name seeds train_seeds evaluation_seeds reference_pool"),
    POLICY: _words("policy_name"),
    META: frozenset(),
    MIPRO: _words(
        "num_evaluations_per_iteration env_name env_config meta_model_inference_url few_shot_score_threshold "
        "results_file max_total_tokens policy_config meta modules stages seeds proposer_effort "
        "proposer_output_tokens max_token_limit max_rollout_spend_usd max_proposal_spend_usd token_counting_model "
        "enforce_token_limit min_bootstrap_demos strict_bootstrap tpe demo grounding meta_update instructions judge "
        "proxy_models adaptive_pool spec metaprompt reference_pool max_demo_set_size max_demo_sets "
        "max_instruction_sets full_eval_every_k instructions_per_batch max_instructions duplicate_retry_limit "
        "parallel_risk max_parallel_trials"
    ),
    GEPA: _words(
        "env_name env_config proposer_type proposer_effort proposer_output_tokens metaprompt modules judge "
        "proxy_models adaptive_pool adaptive_batch spec mutation_llm_inference_url mutation_rate mutation_prompt "
        "initial_population_size num_generations children_per_generation crossover_rate selection_pressure "
        "patience_generations archive_size pareto_eps feedback_fraction max_token_limit token_counting_model "
        "enforce_pattern_token_limit validation_pool validation_top_k"
    ),
    f"{GEPA}.rollout": _words(""),
    f"{GEPA}.evaluation": _words("test_pool validation_pool validation_top_k"),
    f"{GEPA}.mutation": _words("rate prompt llm_inference_url"),
    f"{GEPA}.archive": _words("size pareto_eps feedback_fraction"),
    f"{GEPA}.token": _words("max_limit counting_model enforce_pattern_limit"),
    f"{GEPA}.population": _words(
        "initial_size num_generations children_per_generation crossover_rate selection_pressure patience_generations"
    ),
    TERMINATION: _words("max_tokens max_token_limit max_trials max_category_costs_usd"),
}
"""Published keys that are accepted, listed in `RunConfig.ignored` and otherwise left alone."""
IGNORED_PREFIXES: dict[str, str] = {MIPRO: "spec_", GEPA: "spec_"}

_HOSTS = (
    "The backend chooses the address, because keys are bound to hosts. "
    'For a server of your own set provider = "custom" and base_url.'
)
_KEYS = "Keys stay out of configurations: set an environment variable and name it with api_key_env."
REFUSED: dict[Place, str] = {
    **{(table, key): _HOSTS for table in (POLICY, META) for key in ("inference_url", "api_base")},
    **{(table, "api_key"): _KEYS for table in (POLICY, META)},
}
