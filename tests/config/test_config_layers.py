"""The user's own file under every project's, what may be said of a model, and which key goes where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from mipro_walk.config import RunConfig, UntrustedHostError, load_config, parse_config
from mipro_walk.config.free_tables import looks_like_a_key
from mipro_walk.config.trust import Trust, confirm, load_trust, origin_of, withdraw
from mipro_walk.errors import ConfigError, PrerequisiteError

CUSTOM = {"provider": "custom", "model": "m", "base_url": "https://models.example/v1"}


def load(folder: Path, project: dict[str, Any], user: dict[str, Any] | None = None, **environ: str) -> RunConfig:
    (folder / "mipro_config.toml").write_text(tomli_w.dumps({"prompt_learning": project}))
    path = folder / "home" / "mipro_walk.toml"
    path.parent.mkdir(exist_ok=True)
    if user is not None:
        path.write_text(tomli_w.dumps({"prompt_learning": user}))
        path.chmod(0o600)
    environ = {"MIPRO_WALK_HOME": str(path.parent), **environ}
    return load_config(folder / "mipro_config.toml", environ=environ, user_file=path)


def parse(**tables: Any) -> RunConfig:
    return parse_config({"prompt_learning": tables}, origin="test", environ={})


def problems(**tables: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(**tables)
    return caught.value.problems


# ---- layers


def test_the_users_file_counts_where_project_and_environment_say_nothing(tmp_path: Path) -> None:
    user = {"mipro": {"top_k": 3, "num_iterations": 5, "num_demos": 4}}
    config = load(tmp_path, {"mipro": {"num_iterations": 7}}, user, MIPRO_WALK_NUM_DEMOS="1")
    settings = config.settings
    assert (settings.top_k, settings.num_iterations, settings.num_demos) == (3, 7, 1)


def test_what_the_user_says_of_one_provider_means_nothing_for_another(tmp_path: Path) -> None:
    user = {"policy": {**CUSTOM, "requests_per_minute": 5}}
    same = load(tmp_path, {}, user)
    assert (same.policy.base_url, same.policy.options.requests_per_minute) == (CUSTOM["base_url"], 5)
    other = load(tmp_path, {"policy": {"provider": "groq"}}, user)
    assert (other.policy.base_url, other.policy.options.requests_per_minute) == (None, None)
    by_variable = load(tmp_path, {}, user, MIPRO_WALK_POLICY_PROVIDER="groq")
    assert (by_variable.policy.model, by_variable.policy.base_url) == ("llama-3.1-8b-instant", None)


def test_settings_of_a_model_come_from_the_environment_too(tmp_path: Path) -> None:
    config = load(tmp_path, {}, None, MIPRO_WALK_POLICY_TOKENS_PER_MINUTE="500", MIPRO_WALK_META_TIMEOUT_SECONDS="9")
    assert config.policy.options.tokens_per_minute == 500
    assert config.meta.options.timeout_seconds == 9.0


def test_a_mistake_in_the_users_file_names_that_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {}, {"mipro": {"top_k": 0}})
    assert "mipro_walk.toml" in caught.value.message
    assert "(line 2)" in caught.value.problems[0]


def test_a_value_of_the_users_file_that_is_wrong_only_here_names_that_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(
            tmp_path, {"policy": {"temperature": 1}}, {"policy": {"provider": "openai", "base_url": "http://[::1]/v1"}}
        )
    assert "mipro_walk.toml:3" in caught.value.problems[0]


@pytest.mark.parametrize("table", [{"env_config": {"num_intents": 3}}, {"initial_prompt": {"messages": []}}])
def test_what_belongs_to_a_project_is_refused_in_the_users_file(tmp_path: Path, table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {}, table)
    assert "project's file" in caught.value.problems[0]


def test_a_users_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    load(tmp_path, {}, {"mipro": {"top_k": 3}})
    (tmp_path / "home" / "mipro_walk.toml").chmod(0o666)
    with pytest.raises(ConfigError, match="not yours alone"):
        load(tmp_path, {})


# ---- the two models


def test_a_meta_model_at_the_same_server_shares_address_and_key_but_not_limits_of_another_model() -> None:
    policy = {"provider": "custom", "model": "cheap", "base_url": "http://127.0.0.1:1/v1", "api_key_env": "A_API_KEY"}
    policy |= {"requests_per_minute": 7, "input_price_per_million": 1.0, "output_price_per_million": 2.0}
    strong = parse(policy=policy, meta={"model": "strong"}).meta
    assert (strong.base_url, strong.options.api_key_env) == (policy["base_url"], "A_API_KEY")
    assert (strong.options.requests_per_minute, strong.options.prices) == (None, None)
    same = parse(policy=policy)
    assert same.meta.options == same.policy.options
    assert same.meta_as_policy


def test_a_meta_model_may_be_at_a_server_of_its_own() -> None:
    config = parse(
        policy={"provider": "groq"}, meta={"provider": "custom", "model": "m", "base_url": "http://[::1]:2/v1"}
    )
    assert (config.meta.provider, config.meta.base_url, config.policy.base_url) == ("custom", "http://[::1]:2/v1", None)


@pytest.mark.parametrize(
    "tables",
    [
        {"policy": {"extra_body": {"top_p": 0.5, "deep": {"a": [1]}}, "extra_headers": {"X-Title": "t"}}},
        {"policy": {"extra_body": {"top_p": 0.5}}, "meta": {"extra_body": {}}},
        {"policy": {"reasoning_effort": "low"}, "meta": {"max_completion_tokens": 400}},
        {"policy": {"provider": "openai", "requests_per_minute": 3}, "meta": {"tokens_per_minute": 9}},
        {"policy": {"input_price_per_million": 0, "output_price_per_million": 0.5, "send_temperature": False}},
        {"policy": {"provider": "openai"}, "meta": {"provider": "groq", "timeout_seconds": 3, "max_concurrent": 2}},
        {"policy": {"provider": "openai", "api_key_env": "OPENAI_TEAM_API_KEY"}},
    ],
)
def test_what_is_said_of_models_survives_a_round_trip(tables: dict[str, Any]) -> None:
    config = parse(**tables)
    assert parse_config(config.as_dict(), origin="again", environ={}) == config


def test_what_determines_an_answer_identifies_it_and_limits_and_prices_do_not() -> None:
    said = {"extra_body": {"top_p": 1}, "extra_headers": {"X-A": "b"}, "reasoning_effort": "low"}
    limits = {"requests_per_minute": 1, "tokens_per_minute": 1, "timeout_seconds": 1, "max_concurrent": 1}
    limits |= {"input_price_per_million": 1, "output_price_per_million": 1}
    config = parse(policy={**said, **limits, "send_temperature": False})
    assert config.model("policy").identity() == {**said, "send_temperature": False}
    assert parse(policy=limits).model("policy").identity() == {}


def test_reasoning_models_get_room_to_think_unless_told_otherwise() -> None:
    assert parse(policy={"reasoning_effort": "low"}).policy.max_completion_tokens == 4096
    assert parse(policy={"reasoning_effort": "low", "max_completion_tokens": 9}).policy.max_completion_tokens == 9
    assert parse().policy.max_completion_tokens == 64


def test_one_price_needs_the_other() -> None:
    (problem,) = problems(policy={"input_price_per_million": 1})
    assert "output_price_per_million" in problem


SECRETS = [
    "sk-0123456789abcdef",
    "Bearer abcdefgh12345",
    "q7Xw2LkV9tRz4BnM8cYp1HsD",
    "ghp_abcdefghijklmnop1234",
    "AKIAIOSFODNN7EXAMPLE",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("table", ["extra_headers", "extra_body"])
def test_a_key_in_a_file_is_refused_without_being_shown(table: str, secret: str) -> None:
    (problem,) = problems(policy={table: {"x-route": secret}})
    assert "api_key_env" in problem
    assert secret not in problem


def test_a_key_deep_inside_the_body_is_found() -> None:
    assert "api_key_env" in problems(policy={"extra_body": {"a": [{"api_key": "hunter2hunter2"}]}})[0]


@pytest.mark.parametrize(
    "text",
    ["my application", "https://example.com/a/long/path/to-something-2024", "fallback", "2024-10-21-preview", "x" * 60],
)
def test_ordinary_values_are_no_keys(text: str) -> None:
    assert not looks_like_a_key("x-title", text)


@pytest.mark.parametrize(
    "name", ["Authorization", "HOST", "x-api-key", "Content-Length", "proxy-connection", "bad name", ""]
)
def test_headers_that_the_program_sets_are_refused(name: str) -> None:
    assert "extra_headers" in problems(policy={"extra_headers": {name: "value"}})[0]


@pytest.mark.parametrize("value", ["a\r\nX: y", "", "ä", 5, "x" * 600])
def test_values_that_no_header_can_have_are_refused(value: Any) -> None:
    assert "extra_headers.x-a" in problems(policy={"extra_headers": {"x-a": value}})[0]


@pytest.mark.parametrize("key", ["messages", "model", "stream", "n", "temperature", "tools"])
def test_fields_that_the_run_decides_are_refused(key: str) -> None:
    assert f"extra_body.{key}" in problems(policy={"extra_body": {key: 1}})[0]


# ---- keys and hosts


@pytest.mark.parametrize(
    "value", ["sk-0123456789abcdef0123", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "openai_api_key", ""]
)
def test_only_variables_of_model_keys_can_be_named_and_a_key_written_there_is_not_shown(value: str) -> None:
    (problem,) = problems(policy={"provider": "openai", "api_key_env": value})
    assert "_API_KEY" in problem
    assert not value or value not in problem


@pytest.mark.parametrize("table", ["policy", "meta"])
def test_an_address_that_nobody_confirmed_is_refused_for_either_model(table: str) -> None:
    with pytest.raises(UntrustedHostError) as caught:
        parse(**{table: CUSTOM})
    assert caught.value.pairs == ((CUSTOM["base_url"], "MIPRO_WALK_API_KEY"),)
    assert "models trust" in caught.value.problems[0]


def test_a_confirmed_host_gets_the_key_it_was_confirmed_for_and_no_other(tmp_path: Path) -> None:
    confirm("https://models.example", "A_API_KEY", tmp_path)
    trust = load_trust({}, tmp_path)
    document = {"prompt_learning": {"policy": {**CUSTOM, "api_key_env": "A_API_KEY"}}}
    assert parse_config(document, origin="t", trust=trust).policy.options.api_key_env == "A_API_KEY"
    document["prompt_learning"]["policy"]["api_key_env"] = "OPENAI_API_KEY"
    with pytest.raises(UntrustedHostError):
        parse_config(document, origin="t", trust=trust)
    assert withdraw("https://models.example/v1", tmp_path) == [("https://models.example", "A_API_KEY")]
    assert not load_trust({}, tmp_path).pairs


def test_another_port_or_scheme_is_another_host(tmp_path: Path) -> None:
    trust = Trust(frozenset({("https://models.example", "A_API_KEY")}))
    assert trust.allows_key("https://MODELS.example:443/other", "A_API_KEY")
    for url in (
        "https://models.example:8443",
        "http://models.example",
        "https://models.example.evil",
        "https://x@models",
    ):
        assert not trust.allows_key(url, "A_API_KEY"), url


def test_a_providers_own_variables_go_to_the_provider_only() -> None:
    assert Trust().allows_key("https://api.openai.com/v1", "OPENAI_TEAM_API_KEY")
    assert not Trust().allows_key("https://api.openai.com.evil/v1", "OPENAI_API_KEY")
    assert not Trust().allows_key("https://api.groq.com/openai/v1", "OPENAI_API_KEY")
    assert "models trust" in problems(policy={"provider": "openai", "api_key_env": "ROUTER_API_KEY"})[0]


def test_a_damaged_or_linked_list_of_hosts_confirms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "trusted_hosts.json"
    path.write_text("{")
    with pytest.raises(PrerequisiteError, match="damaged"):
        load_trust({}, tmp_path)
    path.unlink()
    (tmp_path / "elsewhere.json").write_text('{"hosts": [{"host": "https://models.example", "variable": "A_API_KEY"}]}')
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(PrerequisiteError):
        load_trust({}, tmp_path)


def test_the_list_of_hosts_is_private(tmp_path: Path) -> None:
    confirm("https://models.example", "A_API_KEY", tmp_path)
    assert (tmp_path / "trusted_hosts.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("url", ["", "nonsense", "https://[::1", "https://h:99999"])
def test_what_is_no_url_has_no_origin(url: str) -> None:
    assert origin_of(url) == ""
