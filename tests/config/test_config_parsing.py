"""What a document means, and what is said about a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mipro_walk.config import Pool, RunConfig, load_config, parse_config
from mipro_walk.core.settings import GepaSettings, OptimizerSettings
from mipro_walk.errors import ConfigError


def parse(root: dict[str, Any], environ: dict[str, str] | None = None) -> RunConfig:
    return parse_config({"prompt_learning": root}, origin="request body", environ=environ or {})


def problems_of(root: dict[str, Any], environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(root, environ)
    assert caught.value.exit_code == 2
    return caught.value.problems


def test_an_empty_section_gets_the_documented_defaults() -> None:
    config = parse({})
    assert config.settings == OptimizerSettings()
    assert (config.policy.provider, config.policy.output_mode, config.max_concurrent) == ("local", "structured", 2)
    assert (config.proposer, config.meta_model, config.meta_model_provider) == (
        "both",
        "smollm2-135m-instruct",
        "local",
    )
    assert config.pools.train == Pool("train")
    assert config.pools.test == Pool("test")


def test_a_hosted_policy_changes_the_dependent_defaults() -> None:
    config = parse({"policy": {"provider": "openai", "model": "openai/gpt-4o"}})
    assert (config.policy.model, config.policy.output_mode, config.max_concurrent) == ("gpt-4o", "tool_calls", 8)
    assert (config.proposer, config.meta_model, config.meta_model_provider) == ("meta-model", "gpt-4o", "openai")


def test_another_vendors_name_inside_a_model_name_stays() -> None:
    assert parse({"policy": {"provider": "groq", "model": "openai/gpt-oss-20b"}}).policy.model == "openai/gpt-oss-20b"


def test_a_meta_model_of_another_provider_does_not_take_the_policys_model_name() -> None:
    config = parse({"mipro": {"meta_model_provider": "openai"}})
    assert (config.meta_model, config.proposer) == ("gpt-4o-mini", "meta-model")


@pytest.mark.parametrize(
    "root",
    [
        {},
        {"policy": {"provider": "groq"}, "mipro": {"num_demos": 0, "rng_seed": 7, "optimize_demos": False}},
        {"mipro": {"online_pool": [3, {"start": 10, "end": 12}], "bootstrap_train_seeds": [0, 1]}},
        {"mipro": {"online_pool": [0], "bootstrap_train_seeds": [0], "train_split": "train"}},
        {"mipro": {"online_pool": [0], "bootstrap_train_seeds": [1]}, "env_config": {"split": "d", "x": [{"y": 2}]}},
        {"initial_prompt": {"messages": [{"role": "system", "pattern": "Sort."}]}, "task_app_id": "mine"},
        {"termination_config": {"max_cost_usd": 2, "target_score": 1}, "policy": {"provider": "openai"}},
        {"policy": {"provider": "custom", "model": "m", "base_url": "http://[::1]:9/v1/"}},
    ],
)  # fmt: skip
def test_parsing_the_resolved_document_again_gives_an_equal_configuration(root: dict[str, Any]) -> None:
    config = parse(root)
    again = parse_config(config.as_dict(), origin="again", environ={})
    assert again == config
    assert again.config_hash == config.config_hash


def test_two_different_configurations_have_different_hashes() -> None:
    assert parse({"mipro": {"rng_seed": 0}}).config_hash != parse({"mipro": {"rng_seed": 1}}).config_hash


def test_environment_variables_do_not_change_a_submitted_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIPRO_WALK_NUM_ITERATIONS", "77")
    assert parse_config({"prompt_learning": {}}, origin="request body").settings.num_iterations == 10


# ---- problems


def test_all_problems_come_at_once_and_each_names_its_key() -> None:
    found = problems_of(
        {
            "mipro": {"num_iterations": 0, "num_demo": 2, "optimize_demos": 1},
            "policy": {"temperature": 3},
            "termination_config": {"budget": 1.5},
        }
    )
    assert len(found) == 5
    text = "\n".join(found)
    assert "prompt_learning.mipro.num_iterations = 0: must be a whole number from 1 to 1000." in text
    assert "prompt_learning.mipro.optimize_demos = 1: must be true or false." in text
    assert "Unknown key 'num_demo' in [prompt_learning.mipro]. Did you mean 'num_demos'?" in text


def test_a_key_in_the_wrong_section_is_told_where_it_belongs() -> None:
    (problem,) = problems_of({"num_iterations": 5})
    assert problem == "Unknown key 'num_iterations' in [prompt_learning]. It belongs in [prompt_learning.mipro]."


def test_the_value_of_an_unknown_key_is_not_repeated() -> None:
    assert "sk-secret" not in "".join(problems_of({"policy": {"api_keys": "sk-secret"}}))


def test_control_characters_in_keys_come_out_escaped() -> None:
    found = problems_of({"\x1b[2Jkey": 1, "env_config": {"\x1b]0;x": float("nan")}})
    assert len(found) == 2
    assert "\x1b" not in "".join(found)


def gepa(table: dict[str, Any], **root: Any) -> RunConfig:
    return parse({"algorithm": "gepa", "gepa": table, **root})


def test_gepa_has_settings_of_its_own_and_shares_the_rest() -> None:
    config = gepa({"minibatch_size": 5, "pareto_set_size": 12, "rng_seed": 4, "budget": 90, "online_pool": [3, 4]})
    assert config.settings == GepaSettings(minibatch_size=5, pareto_set_size=12, rng_seed=4, budget=90)
    assert config.pools.val.seeds == (3, 4)
    assert parse(config.as_dict()["prompt_learning"]) == config


def test_a_configuration_for_mipro_becomes_one_for_gepa_by_one_word() -> None:
    mipro = {"rng_seed": 7, "test_size": 9, "num_iterations": 5, "minibatch_size": 20, "meta_model": "gpt-4o"}
    config = parse({"algorithm": "gepa", "mipro": mipro, "policy": {"provider": "openai"}})
    assert (config.settings.rng_seed, config.settings.test_size, config.meta_model) == (7, 9, "gpt-4o")
    assert config.settings.minibatch_size == 3
    assert set(config.ignored) == {"prompt_learning.mipro.num_iterations", "prompt_learning.mipro.minibatch_size"}


def test_the_table_of_the_algorithm_that_is_not_chosen_is_left_alone() -> None:
    config = parse({"gepa": {"anything": 1, "budget": 7}, "mipro": {"rng_seed": 3}})
    assert config.ignored == ("prompt_learning.gepa",)
    assert (config.settings.algorithm, config.settings.budget) == ("mipro", 100)


PUBLISHED_GEPA = {
    "env_name": "banking77",
    "rng_seed": 5,
    "proposer_type": "dspy",
    "rollout": {"budget": 150, "max_concurrent": 20, "minibatch_size": 8},
    "evaluation": {"seeds": list(range(30)), "validation_seeds": list(range(100, 140))},
    "mutation": {"rate": 0.3, "llm_provider": "groq"},
    "population": {"initial_size": 20, "num_generations": 10, "children_per_generation": 5, "crossover_rate": 0.5},
    "archive": {"size": 64, "pareto_set_size": 12, "pareto_eps": 1e-06, "feedback_fraction": 0.5},
    "token": {"max_limit": 1000, "counting_model": "gpt-4", "max_spend_usd": 2.5},
}


def test_what_the_published_client_sends_for_gepa_is_understood() -> None:
    lifted = {"train_seeds": list(range(30)), "evaluation_seeds": list(range(30))}
    config = gepa(PUBLISHED_GEPA, policy={"provider": "openai", "model": "gpt-4o-mini"}, **lifted)
    settings = config.settings
    assert (settings.budget, settings.minibatch_size, settings.pareto_set_size) == (150, 8, 12)
    assert (settings.rng_seed, settings.max_cost_usd, config.max_concurrent) == (5, 2.5, 20)
    assert config.pools.val.seeds == tuple(range(12))
    assert config.pools.train.seeds == tuple(range(12, 30))
    assert config.pools.test.seeds == tuple(range(100, 140))
    assert settings.test_size == 40
    # The client writes this provider unasked; the key of the policy's provider is the one at hand.
    assert (config.meta_model_provider, config.meta_model) == ("openai", "gpt-4o-mini")
    for name in ("env_name", "proposer_type", "mutation.rate", "population.num_generations", "archive.size"):
        assert f"prompt_learning.gepa.{name}" in config.ignored
    assert parse(config.as_dict()["prompt_learning"]) == config


def test_the_block_of_the_page_about_gepa_means_what_the_page_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "gepa.md").read_text(encoding="utf-8")
    path = tmp_path / "c.toml"
    path.write_text(page.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    config = load_config(path, environ={})
    assert config.ignored == ()
    assert [len(p.seeds or ()) for p in (config.pools.val, config.pools.train, config.pools.test)] == [12, 18, 20]
    assert (config.settings.budget, config.settings.test_size) == (150, 20)


def test_a_mutation_model_that_is_named_is_used() -> None:
    config = gepa({"mutation": {"llm_model": "llama-3.1-8b-instant", "llm_provider": "groq"}})
    assert (config.meta_model_provider, config.meta_model) == ("groq", "llama-3.1-8b-instant")


def test_a_misspelt_key_of_gepa_is_named_with_the_nearest_one() -> None:
    found = problems_of({"algorithm": "gepa", "gepa": {"minibatchsize": 3, "rollout": {"bugdet": 5}}})
    assert "'minibatchsize' in [prompt_learning.gepa]" in found[0]
    assert "Did you mean 'minibatch_size'?" in found[0]
    assert "Did you mean 'budget'?" in found[1]


@pytest.mark.parametrize("size", [30, 31])
def test_a_pareto_set_that_leaves_no_train_rows_is_refused(size: int) -> None:
    table = {"evaluation": {"seeds": list(range(30))}, "archive": {"pareto_set_size": size}}
    (problem,) = problems_of({"algorithm": "gepa", "gepa": table})
    assert "choose 1 to 29" in problem


def test_gepas_evaluation_seeds_stand_back_behind_named_pools() -> None:
    pools = {"bootstrap_train_seeds": [1], "online_pool": [2], "test_pool": [3]}
    config = gepa({"evaluation": {"seeds": [4, 5], "validation_seeds": [6]}, **pools})
    assert [p.seeds for p in (config.pools.train, config.pools.val, config.pools.test)] == [(1,), (2,), (3,)]
    assert set(config.ignored) == {
        "prompt_learning.gepa.evaluation.seeds",
        "prompt_learning.gepa.evaluation.validation_seeds",
    }


@pytest.mark.parametrize("document", [{}, {"prompt_learning": 3}, {"mipro": {}}, [], "text", None])
def test_a_document_without_the_section_is_refused(document: Any) -> None:
    with pytest.raises(ConfigError):
        parse_config(document, origin="request body")


@pytest.mark.parametrize("section", ["policy", "mipro", "termination_config", "env_config", "initial_prompt"])
def test_a_value_where_a_table_belongs_is_refused(section: str) -> None:
    assert "must be a table" in problems_of({section: 5})[0]


def test_the_same_thing_said_twice_must_be_the_same() -> None:
    twice = {"mipro": {"budget": 50}, "termination_config": {"max_rollouts": 50}}
    assert parse(twice).settings.budget == 50
    (problem,) = problems_of({"mipro": {"budget": 50}, "termination_config": {"max_rollouts": 60}})
    assert "budget" in problem
    assert "max_rollouts" in problem
    assert "different" in problem


@pytest.mark.parametrize("section", ["mipro", "termination_config"])
@pytest.mark.parametrize(
    ("alias", "field", "value"),
    [
        ("max_rollouts", "budget", 60),
        ("max_spend_usd", "max_cost_usd", 1.5),
        ("max_wall_clock_seconds", "max_time_seconds", 90.0),
        ("batch_size", "minibatch_size", 4),
    ],
)
def test_published_names_of_limits_are_read(section: str, alias: str, field: str, value: float) -> None:
    assert getattr(parse({section: {alias: value}}).settings, field) == value


def test_a_batch_size_the_client_filled_in_contradicts_nothing() -> None:
    for mipro in ({"batch_size": 32, "minibatch_size": 5}, {"minibatch_size": 5, "batch_size": 32}):
        config = parse({"mipro": mipro})
        assert config.settings.minibatch_size == 5
        assert config.ignored == ("prompt_learning.mipro.batch_size",)


def test_published_keys_without_effect_are_listed() -> None:
    config = parse({"judge": {"a": 1}, "mipro": {"tpe": {}, "spec_path": "x"}, "policy": {"policy_name": "p"}})
    assert set(config.ignored) == {
        "prompt_learning.judge",
        "prompt_learning.mipro.tpe",
        "prompt_learning.mipro.spec_path",
        "prompt_learning.policy.policy_name",
    }


def test_a_body_as_the_published_client_submits_it_is_accepted() -> None:
    config = parse(
        {
            "algorithm": "mipro",
            "task_app_url": "http://localhost:8002",
            "task_app_api_key": "k" * 64,
            "results_folder": "results",
            "policy": {
                "inference_mode": "synth_hosted",
                "provider": "openai",
                "model": "gpt-4o-mini",
                "temperature": 0.0,
                "max_completion_tokens": 512,
                "policy_name": None,
            },
            "bootstrap_train_seeds": [0, 1, 2],
            "online_pool": [3, 4],
            "mipro": {
                "num_iterations": 20,
                "num_evaluations_per_iteration": 5,
                "batch_size": 32,
                "max_concurrent": 20,
                "env_name": "banking77",
                "meta_model": "gpt-4o-mini",
                "meta_model_provider": "openai",
                "few_shot_score_threshold": 0.8,
                "proposer_effort": "LOW",
                "proposer_output_tokens": "FAST",
                "token_counting_model": "gpt-4",
                "enforce_token_limit": True,
                "min_bootstrap_demos": 0,
                "spec_max_tokens": 5000,
                "spec_include_examples": True,
                "top_k": 2,
            },
        }
    )
    assert config.settings.num_iterations == 20
    assert config.pools.val == Pool(None, (3, 4))
    assert config.task_app_api_key is not None
    assert config.task_app_api_key.get_secret_value() == "k" * 64
    assert "kkk" not in repr(config) + str(config.as_dict())


# ---- pools


def test_ranges_are_expanded_with_the_end_left_out() -> None:
    pools = parse({"mipro": {"online_pool": [7, {"start": 2, "end": 5}], "val_split": "val"}}).pools
    assert pools.val == Pool("val", (7, 2, 3, 4))


@pytest.mark.parametrize(
    "seeds",
    [
        [],
        5,
        "0-5",
        [True],
        [1.0],
        [-1],
        [1, 1],
        ["1"],
        [{"start": 5, "end": 5}],
        [{"start": 0}],
        [{"start": 0, "end": 10**12}],
        [{"start": 0, "end": 20_000}],
        [{"start": 0, "end": 3, "step": 2}],
        [{"start": 0, "end": 3}, 2],
        [[0]],
        [None],
        [10**4400],
    ],
)
def test_a_bad_list_of_seeds_is_refused(seeds: Any) -> None:
    (problem,) = problems_of({"mipro": {"online_pool": seeds}})
    assert problem.startswith("prompt_learning.mipro.online_pool")


def test_pools_without_split_keys_share_the_default_split_and_must_not_overlap() -> None:
    (problem,) = problems_of({"bootstrap_train_seeds": [0, 1, 2, 3], "online_pool": [3, 4, 2]})
    assert "bootstrap_train_seeds" in problem
    assert "online_pool" in problem
    assert "share 2 rows" in problem
    assert ": 2, 3." in problem


def test_pools_with_split_keys_may_use_the_same_numbers() -> None:
    pools = parse({"mipro": {"bootstrap_train_seeds": [0], "online_pool": [0], "test_split": "test"}}).pools
    assert (pools.train, pools.val, pools.test) == (Pool("train", (0,)), Pool("val", (0,)), Pool("test"))


def test_one_split_for_two_pools_needs_disjoint_seeds() -> None:
    both = {"train_split": "dev", "val_split": "dev", "bootstrap_train_seeds": [0, 1], "online_pool": [2]}
    assert parse({"mipro": both}).pools.val == Pool("dev", (2,))
    assert "share 1 row of" in problems_of({"mipro": {**both, "online_pool": [1]}})[0]
    assert "all of it" in problems_of({"mipro": {"train_split": "dev", "val_split": "dev"}})[0]


def test_the_split_of_env_config_counts_for_pools_without_split_keys() -> None:
    config = parse({"env_config": {"split": "dev"}, "online_pool": [1], "bootstrap_train_seeds": [0]})
    assert (config.pools.train.split, config.pools.val.split, config.pools.test.split) == ("dev", "dev", "test")
    assert not config.ignored


def test_val_seeds_stand_in_for_a_missing_online_pool_only() -> None:
    assert parse({"val_seeds": [4]}).pools.val.seeds == (4,)
    config = parse({"val_seeds": [4], "online_pool": [5]})
    assert config.pools.val.seeds == (5,)
    assert config.ignored == ("prompt_learning.val_seeds",)


# ---- addresses and keys


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1",
        "127.0.0.1:8002",
        "http://",
        "http://user:pw@127.0.0.1:8002",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:8002/#x",
        "http://127.0.0.1:8002/\r\nX: y",
        "http://127.0.0.1\\@evil.example",
        "http://[::1",
        "file:///etc/passwd",
        "",
    ],
)
def test_a_bad_task_app_address_is_refused(url: str) -> None:
    found = problems_of({"task_app_url": url})
    assert "task_app_url" in found[0]
    assert "pw" not in found[0]


CUSTOM = {"provider": "custom", "model": "m"}


@pytest.mark.parametrize("url", ["http://127.0.0.1:11434/v1", "http://localhost:1/v1", "http://[::1]:1/v1"])
def test_a_custom_server_on_this_machine_is_accepted(url: str) -> None:
    assert parse({"policy": {**CUSTOM, "base_url": url}}).policy.base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example/v1",
        "http://localhost.evil.example/v1",
        "http://0.0.0.0/v1",
        "http://0x7f.1/v1",
        "http://2130706433/v1",
        "http://[::ffff:169.254.169.254]/v1",
        "http://169.254.169.254/v1",
    ],
)
def test_a_file_cannot_send_keys_to_a_host_the_environment_does_not_name(url: str) -> None:
    policy = {**CUSTOM, "base_url": url}
    assert "MIPRO_WALK_BASE_URL" in problems_of({"policy": policy})[0]
    assert problems_of({"policy": policy}, {"MIPRO_WALK_BASE_URL": "https://other.example/v1"})


def test_the_environment_can_name_the_custom_server() -> None:
    environ = {"MIPRO_WALK_BASE_URL": "https://models.example/v1/"}
    assert parse({"policy": CUSTOM}, environ).policy.base_url == "https://models.example/v1"
    named = {**CUSTOM, "base_url": "https://models.example/v1"}
    assert parse({"policy": named}, environ).policy.base_url == "https://models.example/v1"


def test_a_custom_provider_needs_an_address_and_a_model() -> None:
    assert len(problems_of({"policy": {"provider": "custom"}})) == 2


def test_other_providers_have_no_base_url() -> None:
    assert "only provider" in problems_of({"policy": {"provider": "openai", "base_url": "http://127.0.0.1/v1"}})[0]


@pytest.mark.parametrize("key", ["inference_url", "api_base", "api_key"])
def test_keys_that_would_redirect_calls_are_refused(key: str) -> None:
    (problem,) = problems_of({"policy": {key: "https://evil.example/secret"}})
    assert key in problem
    assert "evil" not in problem


@pytest.mark.parametrize("key", ["", 5, "schlüssel", "a\nb", "x" * 9000])
def test_a_bad_task_app_key_is_refused_without_repeating_it(key: Any) -> None:
    (problem,) = problems_of({"task_app_api_key": key})
    assert "schl" not in problem
    assert "xxx" not in problem


# ---- free tables


@pytest.mark.parametrize("name", ["messages", "sections"])
@pytest.mark.parametrize("text_key", ["pattern", "content"])
def test_the_first_system_message_becomes_the_baseline(name: str, text_key: str) -> None:
    messages = [
        {"role": "user", text_key: "{query}", "order": 0},
        {"role": "system", text_key: "Second.", "order": 2},
        {"role": "system", text_key: "First.", "order": 1},
    ]
    config = parse({"initial_prompt": {"id": "p", name: messages}})
    assert config.baseline_instruction == "First."
    assert f"prompt_learning.initial_prompt.{name} other than system" in config.ignored


@pytest.mark.parametrize(
    "prompt",
    [
        {},
        {"messages": []},
        {"messages": "text"},
        {"messages": [1]},
        {"messages": [{"role": "system", "pattern": ""}]},
        {"messages": [{"role": "system", "pattern": 3}]},
        {"messages": [{"role": "system", "pattern": "x" * 20_001}]},
        {"messages": [{"role": "system", "pattern": "\ud800"}]},
        {"messages": [{"role": "system", "pattern": "a"}], "wildcard": {}},
    ],
)
def test_a_bad_initial_prompt_is_refused(prompt: Any) -> None:
    assert problems_of({"initial_prompt": prompt})


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**64, b"x", {1, 2}, deep(9), deep(900), "\ud800"])
def test_env_config_holds_only_what_json_can_carry(value: Any) -> None:
    assert problems_of({"env_config": {"x": value}})


def test_env_config_is_a_copy() -> None:
    free = {"num_intents": 10, "nested": {"list": [1]}}
    config = parse({"env_config": free})
    free["nested"]["list"].append(2)  # type: ignore[index]
    assert config.env_config == {"num_intents": 10, "nested": {"list": [1]}}


def test_more_demonstrations_than_train_rows_are_refused_when_a_file_names_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    lines = (
        "[prompt_learning]",
        'algorithm = "mipro"',
        'task_app_url = "http://127.0.0.1:8002"',
        "[prompt_learning.mipro]",
        "num_demos = 4",
        "bootstrap_train_seeds = [0, 1, 2]",
        "online_pool = [5, 6]",
    )
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})
    assert caught.value.problems == [
        "prompt_learning.mipro.num_demos = 4 (line 5): larger than the train pool (3 rows in bootstrap_train_seeds)."
    ]
