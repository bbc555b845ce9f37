"""``mipro-walk config``: data on standard output, talk on standard error."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mipro_walk.cli.config_command import app
from mipro_walk.config import load_config, parse_config
from mipro_walk.errors import ConfigError

runner = CliRunner()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "c.toml"
    assert runner.invoke(app, ["create", str(path)]).exit_code == 0
    return path


def test_create_writes_a_file_and_says_what_next(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    result = runner.invoke(
        app, ["create", str(path), "--profile", "walkthrough", "--set", "budget=200", "--set", "policy.model=gpt-4o"]
    )
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "mipro-walk train" in result.stderr
    config = load_config(path, environ={})
    assert (config.settings.budget, config.policy.model) == (200, "gpt-4o")


def test_create_as_json_names_the_file(tmp_path: Path) -> None:
    document = json.loads(runner.invoke(app, ["create", str(tmp_path / "c.toml"), "--json"]).stdout)
    assert document["path"] == str(tmp_path / "c.toml")
    assert document["schema_version"] == 1


@pytest.mark.parametrize("arguments", [["--profile", "x"], ["--set", "budget"], ["--set", "budget=0"], ["--set", "=1"]])
def test_create_refuses_wrong_arguments(tmp_path: Path, arguments: list[str]) -> None:
    result = runner.invoke(app, ["create", str(tmp_path / "c.toml"), *arguments])
    assert isinstance(result.exception, ConfigError)


def test_show_prints_toml_that_means_the_same(path: Path) -> None:
    result = runner.invoke(app, ["show", str(path)])
    assert parse_config(tomllib.loads(result.stdout), origin="x", environ={}) == load_config(path, environ={})
    assert "start = 0" in result.stdout


def test_show_as_json_holds_the_resolved_document(path: Path) -> None:
    document = json.loads(runner.invoke(app, ["show", str(path), "--json", "--origin"]).stdout)
    assert document["config"] == load_config(path, environ={}).as_dict()
    assert document["origins"]["prompt_learning.mipro.num_demos"].startswith(f"project file {path}:")


def test_show_with_origins_says_where_each_value_comes_from(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIPRO_WALK_BUDGET", "123")
    lines = runner.invoke(app, ["show", str(path), "--origin"]).stdout.splitlines()
    rows = dict(line.split("  # ") for line in lines)
    found = {left.strip(): source for left, source in rows.items()}
    assert found["prompt_learning.termination_config.budget = 123"] == "environment MIPRO_WALK_BUDGET"
    assert found["prompt_learning.mipro.max_retries = 6"] == "default"
    assert found["prompt_learning.mipro.online_pool = 40 seeds, 0 to 39"].startswith(f"project file {path}:")


def test_check_of_a_good_file_names_what_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[prompt_learning]\nmipro.tpe = {}\n")
    result = runner.invoke(app, ["check", str(path), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["ignored"] == ["prompt_learning.mipro.tpe"]
    assert "not used here" in result.stderr


def test_check_of_a_bad_file_names_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[prompt_learning.mipro]\ntop_k = 0\nnum_demos = -1\n")
    result = runner.invoke(app, ["check", str(path)])
    assert isinstance(result.exception, ConfigError)
    assert len(result.exception.problems) == 2
    as_json = runner.invoke(app, ["check", str(path), "--json"])
    assert as_json.exit_code == 2
    assert len(json.loads(as_json.stdout)["problems"]) == 2
