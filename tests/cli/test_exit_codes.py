"""Every exit code of the table, once, by the real program; errors on standard error, without a traceback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mipro_walk.cli import main as cli
from mipro_walk.errors import (
    ConfigError,
    IncompleteError,
    KeyMissingError,
    MiproWalkError,
    PrerequisiteError,
    ScoreBelowThresholdError,
    UnreachableError,
)
from tests.cli.terminal import clean_environment, run_command


def run(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, env=clean_environment(home, **environment), seconds=60)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_0_when_all_is_well(home: Path) -> None:
    done = run(home, "paths", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["data"] == str(home)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], "Did you mean 'run'?"),
        (["run", "--from-step", "9"], "There is no step 9."),
        (["run", "--num-intents", "1"], "greater than or equal to 2"),
        (["run", "--profile", "fast"], "Choose one of"),
        (["run", "--data", "/no/such/file.csv"], "no/such/file.csv"),
        (["train", "/no/such/config.toml"], "config create"),
    ],
)
def test_2_for_wrong_usage_or_configuration(home: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    done = run(
        home, *arguments, MIPRO_WALK_WORKDIR=str(tmp_path / "w"), MIPRO_WALK_TASK_APP_PORT="0", MIPRO_WALK_DRY_RUN="1"
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_3_when_the_work_folder_cannot_be_trusted(home: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    done = run(home, "run", "--workdir", str(tmp_path / "link"))
    assert done.returncode == 3
    assert "--workdir" in done.stderr
    assert list((tmp_path / "victim").iterdir()) == []


def test_3_and_a_reason_when_a_check_fails(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(home, "doctor", "--json", "--workdir", str(tmp_path / "file"))
    assert done.returncode == 3
    report = json.loads(done.stdout)
    assert report["ok"] is False
    assert [check["name"] for check in report["checks"] if check["status"] == "FAIL"] == ["Work folder"]


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["run", "--profile", "walkthrough", "--dry-run"], {}),
        (["run", "--dry-run"], {"ENVIRONMENT_API_KEY": "short"}),
        (["jobs", "--backend", "http://127.0.0.1:9"], {}),
    ],
    ids=["provider key", "short task app key", "backend key"],
)
def test_4_when_a_key_is_missing(home: Path, tmp_path: Path, arguments: list[str], environment: dict[str, str]) -> None:
    settings = {"MIPRO_WALK_WORKDIR": str(tmp_path / "w"), "MIPRO_WALK_TASK_APP_PORT": "0", **environment}
    done = run(home, *arguments, **settings)
    assert done.returncode == 4
    assert "Fix:" in done.stderr


def test_5_when_a_stranger_holds_the_port_and_nobody_can_be_asked(home: Path, tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = str(stranger.getsockname()[1])
        done = run(home, "run", "--dry-run", "--workdir", str(tmp_path / "w"), "--task-app-port", port)
    assert done.returncode == 5
    assert f"Port {port} is taken by" in done.stderr
    assert f"pid {os.getpid()}" in done.stderr
    assert "--task-app-port 0" in done.stderr


def test_5_when_no_task_app_runs(home: Path) -> None:
    assert run(home, "task-app", "status").returncode == 5


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MiproWalkError("x"), 1),
        (ConfigError("x"), 2),
        (PrerequisiteError("x"), 3),
        (KeyMissingError("x"), 4),
        (UnreachableError("x"), 5),
        (ScoreBelowThresholdError("x"), 6),
        (IncompleteError("x"), 7),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_class_ends_with_its_code(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    monkeypatch.setattr("mipro_walk.processes.install_termination_handlers", lambda: None)

    class Failing:
        def main(self, **_options: object) -> int:
            raise error

    monkeypatch.setattr(cli, "build", Failing)
    assert cli.main(["jobs"]) == code


def test_a_defect_is_told_in_a_line_and_kept_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mipro_walk.processes.install_termination_handlers", lambda: None)
    monkeypatch.setenv("MIPRO_WALK_HOME", str(tmp_path))

    class Broken:
        def main(self, **_options: object) -> int:
            raise ZeroDivisionError("\x1b[31mboo")

    monkeypatch.setattr(cli, "build", Broken)
    assert cli.main(["jobs"]) == 1
    said = capsys.readouterr().err
    assert "Unexpected ZeroDivisionError" in said
    assert "Traceback" not in said
    assert "Traceback" in (tmp_path / "crash.log").read_text()


def test_foreign_text_in_an_error_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    cli.report(ConfigError("bad \x1b]0;title\x07 [red]value[/red]", problems=["\x1b[2Jone"]))
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "[red]value[/red]" in said


def test_143_on_sigterm_with_the_servers_stopped(home: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mipro_walk", "backend", "--port", "0"],
        env=clean_environment(home),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr:
        assert "Backend is running at" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert list((home / "run").glob("*.json")) == []
