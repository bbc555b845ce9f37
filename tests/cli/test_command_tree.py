"""The commands as a whole: names, environment variables, help, documentation, start-up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mipro_walk.cli import reference
from mipro_walk.cli.main import build
from tests.cli.terminal import PROJECT, clean_environment, run_command

HEAVY = ("optuna", "openai", "fastapi", "datasets", "sqlalchemy", "pydantic", "httpx", "numpy", "psutil", "rich.table")
COMMANDS = {
    *("init", "run", "doctor", "key", "task-app", "config", "train", "results", "export", "jobs", "resume", "cancel"),
    *("backend", "model", "stop", "paths", "version"),
}
READING = ("doctor", "results", "jobs", "paths", "version", "task-app status", "task-app info", "config show")


def walk(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
        return
    for name, child in children.items():
        yield from walk(child, f"{path} {name}".strip())


LEAVES = dict(walk(build()))


def options(command: Any) -> list[Any]:
    return [p for p in command.params if p.param_type_name == "option" and p.expose_value]


def test_all_commands_are_there() -> None:
    assert set(build().commands) >= COMMANDS


@pytest.mark.parametrize("path", LEAVES)
def test_every_option_has_the_environment_variable_of_its_name(path: str) -> None:
    for option in options(LEAVES[path]):
        longest = max(option.opts, key=len).removeprefix("--")
        assert option.envvar == "MIPRO_WALK_" + longest.replace("-", "_").upper()


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_and_option_is_explained_in_80_columns(path: str) -> None:
    command = LEAVES[path]
    assert command.help
    assert all(option.help for option in options(command))
    context = command.make_context(path, [], resilient_parsing=True, terminal_width=80)
    assert all(len(line) <= 80 for line in command.get_help(context).splitlines())


@pytest.mark.parametrize("path", READING)
def test_every_command_that_reads_can_answer_in_json(path: str) -> None:
    assert "--json" in [name for option in options(LEAVES[path]) for name in option.opts]


def test_no_option_takes_a_key() -> None:
    names = [name for command in LEAVES.values() for option in options(command) for name in option.opts]
    assert not [name for name in names if "key" in name or "token" in name or "secret" in name]


def test_the_reference_in_the_docs_is_the_commands_own_help() -> None:
    kept = (PROJECT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert kept == reference.render(), "run: python -m mipro_walk.cli.reference docs/cli.md"


def test_help_needs_none_of_the_heavy_packages(tmp_path: Path) -> None:
    code = (
        "import sys, json; from mipro_walk.cli.main import main; main(['--help']);"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=clean_environment(tmp_path), capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stderr)
    assert [name for name in HEAVY if name in loaded] == []
    assert "Exit codes:" in done.stdout
    assert "The walkthrough:" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_checks_are_readable_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    environment = clean_environment(tmp_path / "h", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    command = [sys.executable, "-P", "-m", "mipro_walk", "doctor", "--workdir", str(tmp_path / "w")]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert "Python" in done.stdout.decode(encoding)
    assert b"\x1b" not in done.stdout


def test_keys_are_masked_in_the_check_list(tmp_path: Path) -> None:
    environment = clean_environment(tmp_path / "h", OPENAI_API_KEY="sk-canary-1234567890wxyz", GROQ_API_KEY="gsk-short")
    done = run_command("doctor", "--json", "--workdir", tmp_path / "w", env=environment, code=0)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["OPENAI_API_KEY"]["detail"] == "set: …wxyz"
    assert checks["GROQ_API_KEY"]["detail"] == "set: …"
    assert "canary" not in done.stdout + done.stderr


def test_the_task_app_stays_until_it_is_stopped(tmp_path: Path) -> None:
    environment = clean_environment(tmp_path / "h")
    workdir = ["--workdir", str(tmp_path / "w")]

    def call(*arguments: str, code: int = 0) -> Any:
        done = run_command("task-app", *arguments, "--json", env=environment, code=code)
        return json.loads(done.stdout or "null")

    started = call("start", "--port", "0", *workdir)
    try:
        assert call("status")["pid"] == started["pid"]
        assert len(call("info", *workdir)["info"]["labels"]) == 77
    finally:
        stopped = call("stop")["stopped"]
    assert [record["pid"] for record in stopped] == [started["pid"]]
    call("status", code=5)
