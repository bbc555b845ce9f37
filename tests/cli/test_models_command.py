"""`mipro-walk models`: what a scripted endpoint can do, what there is, and that no hostile file gets a key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mipro_walk.cli.main import main
from tests import json_schemas
from tests.fakes.openai_server import Scripted, ScriptedOpenAI

CANARY = "sk-canary-0123456789abcdef0123456789"


def obedient(body: dict[str, Any]) -> str | Scripted:
    """Do whatever is asked, as a good model would."""
    if "BLUE" in body["messages"][0]["content"]:
        return "Blue."
    return "card" if "card" in body["messages"][-1]["content"] else "ready"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedOpenAI]:
    monkeypatch.setenv("MIPRO_WALK_HOME", str(tmp_path / "home"))
    for name in ("OPENAI_API_KEY", "GROQ_API_KEY", "MIPRO_WALK_API_KEY", "MIPRO_WALK_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with ScriptedOpenAI(answer=obedient) as server:
        monkeypatch.setenv("ROUTER_API_KEY", server.key)
        yield server


@pytest.fixture
def write(tmp_path: Path, model: ScriptedOpenAI) -> Callable[..., str]:
    def write(**policy: Any) -> str:
        values = {"provider": "custom", "model": "m", "base_url": model.base_url, "api_key_env": "ROUTER_API_KEY"}
        import tomli_w

        path = tmp_path / "mipro_config.toml"
        document = {"prompt_learning": {"policy": values | policy, "mipro": {"max_retries": 0}}}
        path.write_text(tomli_w.dumps(document))
        return str(path)

    return write


def report(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out)


def examined(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what `models test --json` wrote for each role, once it is seen to follow the published schema."""
    found = report(capsys)
    json_schemas.require_valid(json_schemas.MODELS_TEST, found)
    return found["roles"]


def test_what_works_is_found_out_with_few_small_requests(write, model, capsys) -> None:
    assert main(["models", "test", write(), "--json", "--yes"]) == 0
    (found,) = examined(capsys).values()
    works = found["works"]
    assert works == {
        "chat": True, "system": True, "structured": True, "tool_calls": True, "logprobs": False, "seed": True,
        "usage": False,
    }  # fmt: skip
    assert found["recommended_output_mode"] == "structured"
    assert found["usage"]["calls"] == len(model.requests) == 7
    assert found["usage"]["cost_usd"] is None
    assert all(body.get("max_completion_tokens", body.get("max_tokens")) <= 32 for body in model.bodies)


def test_a_price_of_ones_own_makes_the_cost_known_and_zero_needs_no_consent(write, capsys) -> None:
    path = write(input_price_per_million=0, output_price_per_million=0)
    assert main(["models", "test", path, "--json"]) == 0
    (found,) = examined(capsys).values()
    assert found["usage"]["cost_usd"] == 0
    assert found["works"]["usage"] is True


def test_a_paid_endpoint_is_not_asked_without_consent(write, model, capsys) -> None:
    assert main(["models", "test", write()]) == 2
    assert "--yes" in capsys.readouterr().err
    assert model.requests == []


def test_both_roles_are_examined_where_they_differ(write, model, tmp_path, capsys) -> None:
    path = write()
    Path(path).write_text(Path(path).read_text() + '\n[prompt_learning.meta]\nmodel = "strong"\n')
    assert main(["models", "test", path, "--json", "--yes"]) == 0
    assert {name: found["model"] for name, found in examined(capsys).items()} == {
        "policy": "m",
        "meta": "strong",
    }
    assert {body["model"] for body in model.bodies} == {"m", "strong"}


def test_an_output_mode_that_does_not_work_is_a_wrong_configuration(write, model, capsys) -> None:
    model.answer = lambda body: Scripted.error(400, None, "no tools here") if "tools" in body else obedient(body)
    assert main(["models", "test", write(output_mode="tool_calls"), "--yes"]) == 2
    said = capsys.readouterr()
    assert 'output_mode = "structured"' in said.err
    assert "not offered: 400: no tools here" in said.out


@pytest.mark.parametrize(("mode", "code"), [("structured", 0), ("tool_calls", 2)], ids=["works", "does not work"])
def test_the_published_schema_notices_every_key_that_changes(write, model, capsys, mode: str, code: int) -> None:
    model.answer = lambda body: Scripted.error(400, None, "no tools here") if "tools" in body else obedient(body)
    assert main(["models", "test", write(output_mode=mode), "--json", "--yes"]) == code
    found = report(capsys)
    (policy,) = found["roles"].values()
    assert ("FAIL" in {check["status"] for check in policy["checks"]}) == (code == 2)
    assert json_schemas.unnoticed_changes(json_schemas.MODELS_TEST, found) == []


def test_a_missing_capability_that_ends_a_gateway_does_not_end_the_examination(write, model, capsys) -> None:
    model.answer = lambda body: Scripted.unknown_model() if "response_format" in body else obedient(body)
    assert main(["models", "test", write(), "--json", "--yes"]) == 0
    (found,) = examined(capsys).values()
    assert (found["works"]["structured"], found["works"]["tool_calls"]) == (False, True)


def test_fields_that_are_refused_are_named(write, model, capsys) -> None:
    model.answer = lambda body: Scripted.refuses("temperature") if "temperature" in body else obedient(body)
    assert main(["models", "test", write(), "--json", "--yes"]) == 0
    (found,) = examined(capsys).values()
    assert found["refused_fields"] == ["temperature"]


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (Scripted.error(401, "invalid_api_key"), 4, "api_key_env"),
        (Scripted.unknown_model(), 2, "models list"),
        (Scripted.html(), 5, "/v1"),
        (Scripted.out_of_quota(), 4, "Top up"),
    ],
    ids=["key", "model", "no API", "quota"],
)
def test_each_failure_has_its_exit_code_and_fix(write, model, capsys, answer, code, words) -> None:
    model.answer = lambda _body: answer
    assert main(["models", "test", write(), "--yes"]) == code
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_nobody_there_is_exit_5(write, tmp_path, capsys) -> None:
    assert main(["models", "test", write(base_url="http://127.0.0.1:9/v1"), "--yes"]) == 5
    assert "127.0.0.1:9" in capsys.readouterr().err


def test_the_models_of_an_endpoint_are_listed(write, capsys) -> None:
    assert main(["models", "list", write()]) == 0
    assert capsys.readouterr().out == "scripted\n"


def test_a_refused_key_is_told_when_models_are_listed(write, model, capsys, monkeypatch) -> None:
    monkeypatch.setenv("ROUTER_API_KEY", "sk-wrong-0123456789")
    assert main(["models", "list", write()]) == 4
    assert "sk-wrong" not in capsys.readouterr().err


# ---- keys and hosts


def test_hosts_are_trusted_for_one_variable_and_no_longer_when_removed(model, capsys) -> None:
    assert main(["models", "trust", "router.example", "--variable", "ROUTER_API_KEY", "--yes", "--json"]) == 0
    assert report(capsys)["hosts"] == [{"host": "https://router.example", "variable": "ROUTER_API_KEY"}]
    assert main(["models", "trust", "https://router.example/v1", "--remove", "--json"]) == 0
    assert report(capsys)["hosts"] == []


@pytest.mark.parametrize(
    "host", ["http://router.example", "https://169.254.169.254", "https://u:p@x.example", "0x7f.1"]
)
def test_addresses_that_no_model_may_have_cannot_be_trusted(model, capsys, host) -> None:
    assert main(["models", "trust", host, "--yes"]) == 2


@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PATH"])
def test_other_secrets_cannot_be_trusted_to_anybody(model, capsys, variable) -> None:
    assert main(["models", "trust", "router.example", "--variable", variable, "--yes"]) == 2


def test_trust_needs_somebody_who_agrees(model, capsys) -> None:
    assert main(["models", "trust", "router.example"]) == 2
    assert "--yes" in capsys.readouterr().err


HOSTILE = [
    {"provider": "custom", "model": "m", "base_url": "{url}"},
    {"provider": "custom", "model": "m", "base_url": "{url}", "api_key_env": "GITHUB_TOKEN"},
    {"provider": "custom", "model": "m", "base_url": "{url}", "api_key_env": "ENVIRONMENT_API_KEY"},
    {"provider": "custom", "model": "m", "base_url": "{url}", "api_key_env": "SYNTH_API_KEY"},
    {"provider": "openai", "base_url": "{url}"},
    {"provider": "openai", "inference_url": "{url}"},
    {"provider": "openai", "api_base": "{url}"},
    {"provider": "openai", "extra_headers": {"Host": "evil.example"}},
    {"provider": "custom", "model": "m", "base_url": "https://evil.example/v1", "api_key_env": "OPENAI_API_KEY"},
]


@pytest.mark.parametrize("policy", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize(
    "command", [["models", "test", "--yes"], ["models", "list"], ["optimize", "--yes"]], ids=" ".join
)
def test_a_hostile_project_gets_no_key(
    model, tmp_path, monkeypatch, capsys, policy: dict[str, Any], command: list[str]
) -> None:
    import tomli_w

    for name in ("OPENAI_API_KEY", "GROQ_API_KEY", "MIPRO_WALK_API_KEY", "GITHUB_TOKEN", "ENVIRONMENT_API_KEY"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("SYNTH_API_KEY", CANARY)
    # Even where the provider's own host is ours to watch, nothing but its own key may come.
    filled = {key: model.base_url if value == "{url}" else value for key, value in policy.items()}
    folder = tmp_path / "cwd"
    folder.mkdir()
    section = {"policy": filled, "mipro": {"max_retries": 0}}
    (folder / "mipro_config.toml").write_text(tomli_w.dumps({"prompt_learning": section}))
    (folder / ".env").write_text(f"MIPRO_WALK_BASE_URL={model.base_url}\nOPENAI_BASE_URL={model.base_url}\n")
    monkeypatch.chdir(folder)
    assert main(command) != 0
    model.key = CANARY  # a request that carried it would have been authorized
    assert not [request for request in model.requests if "authorization" in request.headers]
    assert CANARY not in capsys.readouterr().err
