"""`--env-file`: what is taken, what is not, and where `config show --origin` says it came from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mipro_walk.cli.env_file import load_env_file
from mipro_walk.cli.main import main
from mipro_walk.errors import ConfigError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIPRO_WALK_HOME", str(tmp_path / "home"))
    for name in ("MIPRO_WALK_BUDGET", "OPENAI_API_KEY", "OPENAI_BASE_URL", "MIPRO_WALK_NO_USER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    Path("c.toml").write_text("[prompt_learning.mipro]\nnum_iterations = 11\n")
    return tmp_path / "home"


def write(text: str, mode: int = 0o600) -> Path:
    path = Path(".env")
    path.write_text(text)
    path.chmod(mode)
    return path


def test_values_are_taken_beneath_the_environment_with_their_lines() -> None:
    environ = {"MIPRO_WALK_TOP_K": "4", "GROQ_API_KEY": ""}
    text = "# comment\n\nMIPRO_WALK_BUDGET=70\nexport GROQ_API_KEY='gsk x'\nMIPRO_WALK_TOP_K=9\n"
    taken = load_env_file(write(text), environ)
    assert environ == {"MIPRO_WALK_TOP_K": "4", "MIPRO_WALK_BUDGET": "70", "GROQ_API_KEY": "gsk x"}
    assert taken.places == {"MIPRO_WALK_BUDGET": ".env:3", "GROQ_API_KEY": ".env:4"}
    assert taken.notes == []


def test_nothing_is_expanded() -> None:
    environ = {"SECRET": "s"}
    load_env_file(write('OPENAI_API_KEY="a${SECRET}$(id)"\n'), environ)
    assert environ["OPENAI_API_KEY"] == "a${SECRET}$(id)"


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HTTPS_PROXY", "SSL_CERT_FILE", "PYTHONPATH", "LD_PRELOAD", "MIPRO_WALK_HOME", "MIPRO_WALK_YES"),
        *("MIPRO_WALK_BACKEND", "MIPRO_WALK_MODEL_MAP", "MIPRO_WALK_LEDGER_URL", "MIPRO_WALK_ALLOW_REMOTE_TASK_APPS"),
    ],
)
def test_what_could_redirect_or_agree_is_not_taken(name: str) -> None:
    environ: dict[str, str] = {}
    taken = load_env_file(write(f"{name}=evil-value\n"), environ)
    assert environ == {}
    assert name in taken.notes[0]
    assert "evil-value" not in taken.notes[0]


@pytest.mark.parametrize("provider", ["OPENAI", "GROQ", "MIPRO_WALK"])
def test_an_address_is_taken_only_with_the_key_that_goes_there(provider: str) -> None:
    url, key = f"{provider}_BASE_URL", f"{provider}_API_KEY"
    environ = {key: "the person's"}
    assert url in load_env_file(write(f"{url}=https://evil.example\n{key}=bait\n"), environ).notes[0]
    assert environ == {key: "the person's"}
    environ = {}
    load_env_file(write(f"{url}=https://mine.example\n{key}=mine\n"), environ)
    assert environ == {url: "https://mine.example", key: "mine"}


def test_a_file_that_others_can_read_is_pointed_out() -> None:
    assert "chmod 600" in load_env_file(write("GROQ_API_KEY=x\n", 0o644), {}).notes[0]


@pytest.mark.parametrize("text", ["=x\n", "'broken\n", "A='x\n", "MIPRO_WALK_BUDGET=7\x00\n"])
def test_a_damaged_line_is_named_without_its_value(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\.env"):
        load_env_file(write(text), {})


def test_a_missing_file_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env-file", "nothing", "version"]) == 2
    assert "nothing" in capsys.readouterr().err


def test_every_layer_is_named_with_file_and_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "mipro_walk.toml").write_text("[prompt_learning.mipro]\nnum_iterations = 5\ntop_k = 3\n")
    (home / "mipro_walk.toml").chmod(0o600)
    write("MIPRO_WALK_BUDGET=70\nMIPRO_WALK_NUM_DEMOS=1\n")
    monkeypatch.setenv("MIPRO_WALK_NUM_DEMOS", "3")
    assert main(["--env-file", ".env", "config", "show", "c.toml", "--origin", "--json"]) == 0
    origins = json.loads(capsys.readouterr().out)["origins"]
    found = {name.rpartition(".")[2]: origins[name] for name in origins}
    assert found["num_iterations"] == "project file c.toml:2"
    assert found["top_k"] == f"user file {home / 'mipro_walk.toml'}:3"
    assert found["budget"] == "env file .env:1 MIPRO_WALK_BUDGET"
    assert found["num_demos"] == "environment MIPRO_WALK_NUM_DEMOS"
    assert found["max_retries"] == "default"
    monkeypatch.delenv("MIPRO_WALK_BUDGET", raising=False)


def test_the_user_file_can_be_left_out(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "mipro_walk.toml").write_text("[prompt_learning.mipro]\ntop_k = 3\n")
    (home / "mipro_walk.toml").chmod(0o600)
    monkeypatch.setenv("MIPRO_WALK_NO_USER_CONFIG", "0")  # put back after the test what the option sets
    assert main(["--no-user-config", "config", "show", "c.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["prompt_learning"]["mipro"]["top_k"] == 2
