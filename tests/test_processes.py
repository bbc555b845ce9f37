"""Children that end with us, see no keys, and are found again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mipro_walk.errors import ConfigError, KeyMissingError, MiproWalkError, PrerequisiteError
from mipro_walk.processes import (
    STOP_SECONDS,
    ProcessRecord,
    backend_environment,
    child_environment,
    is_port_free,
    is_same_process,
    listening_port,
    records,
    start_process,
    stop_record,
    who_listens,
)

SERVER = "http.server"
KEY = "k" * 64

PARENT = """
import sys, time
from pathlib import Path
from mipro_walk.processes import listening_port, start_process
child = start_process("web", "http.server", ["0", "--bind", "127.0.0.1"], env={}, log_path=Path(sys.argv[1]))
while not listening_port(child.pid):
    time.sleep(0.02)
print(child.pid, listening_port(child.pid), flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIPRO_WALK_HOME", str(tmp_path / "home"))


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_child_is_recorded_while_it_runs_and_forgotten_when_it_is_stopped(tmp_path: Path) -> None:
    child = start_process("web", SERVER, ["0", "--bind", "127.0.0.1"], env={}, log_path=tmp_path / "log")
    try:
        wait_for(lambda: listening_port(child.pid))
        port = listening_port(child.pid)
        assert port is not None
        assert [record.pid for record in records()] == [child.pid]
        holder = who_listens(port)
        assert holder is not None
        assert holder.pid == child.pid
        assert not is_port_free(port)
    finally:
        child.stop()
    assert records() == []
    assert is_port_free(port)
    assert not child.is_alive()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_no_child_outlives_its_parent_however_that_ends(tmp_path: Path, number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid, port = map(int, parent.stdout.readline().split())
    parent.send_signal(number)
    parent.wait(10)
    wait_for(lambda: not psutil.pid_exists(pid), 3.0)
    assert is_port_free(port)


def test_a_detached_child_outlives_its_parent_until_it_is_stopped(tmp_path: Path) -> None:
    script = PARENT.replace("log_path=Path(sys.argv[1])", "log_path=Path(sys.argv[1]), detached=True")
    script = script.replace("time.sleep(60)", "child.release()")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "log")], capture_output=True, check=True)
    pid = int(done.stdout.split()[0])
    (record,) = records()
    assert record.pid == pid
    assert stop_record(record)
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    assert records() == []


def test_a_child_that_its_own_session_has_not_missed_yet_counts_as_stopped(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().split()[0])
        (record,) = records()
        began = time.monotonic()
        assert stop_record(record)
        assert time.monotonic() - began < STOP_SECONDS
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "nobody has looked after it"
        assert records() == []
    finally:
        parent.kill()
        parent.communicate()


def test_a_child_that_nothing_ends_is_told_and_kept_in_mind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = start_process("web", SERVER, ["0", "--bind", "127.0.0.1"], env={}, log_path=tmp_path / "log")
    try:
        wait_for(lambda: listening_port(child.pid))
        with monkeypatch.context() as patched:
            patched.setattr("mipro_walk.processes.STOP_SECONDS", 0.1)
            patched.setattr(psutil.Process, "terminate", lambda _process: None)
            patched.setattr(psutil.Process, "kill", lambda _process: None)
            with pytest.raises(PrerequisiteError, match=f"pid {child.pid}"):
                stop_record(child.record)
        assert [record.pid for record in records()] == [child.pid]
    finally:
        child.stop()


def test_a_record_of_a_reused_pid_never_stops_a_stranger() -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    try:
        created = psutil.Process(stranger.pid).create_time()
        assert not is_same_process(ProcessRecord("task-app", stranger.pid, created - 100))
        same_time = ProcessRecord("task-app", stranger.pid, created)
        assert not is_same_process(same_time), "the command line is not ours"
        assert not stop_record(same_time)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_damaged_and_stale_records_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "run"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "a-1.json").write_text("{")
    (folder / "b-2.json").write_text(json.dumps({"name": "b", "pid": 999999, "create_time": 1.0}))
    (folder / "c-3.json").write_text("[]")
    (folder / "d-4.json").write_text(json.dumps({"pid": 4, "unknown": 1}))
    assert records() == []
    assert list(folder.iterdir()) == []


def test_children_see_an_allow_list_without_keys() -> None:
    environ = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "OPENAI_API_KEY": "a",
        "GROQ_API_KEY": "b",
        "SYNTH_API_KEY": "c",
        "MIPRO_WALK_API_KEY": "d",
        "MIPRO_WALK_HOME": "/h",
        "ENVIRONMENT_API_KEY": "e",
        "AWS_SECRET_ACCESS_KEY": "f",
        "HF_TOKEN": "g",
        "LD_PRELOAD": "x.so",
        "https_proxy": "http://p",
    }
    seen = child_environment(environ, {"ENVIRONMENT_API_KEY": "given"})
    ours = {name: value for name, value in seen.items() if not name.startswith("PYTHON")}
    assert ours == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "MIPRO_WALK_HOME": "/h",
        "https_proxy": "http://p",
        "ENVIRONMENT_API_KEY": "given",
    }
    assert set(backend_environment(environ)) == {
        "OPENAI_API_KEY",
        "GROQ_API_KEY",
        "SYNTH_API_KEY",
        "MIPRO_WALK_API_KEY",
    }


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_the_task_app_has_its_key_and_no_provider_key_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-openai")
    monkeypatch.setenv("GROQ_API_KEY", "gsk-canary-groq")
    child = start_process(
        "task-app",
        "task_apps.banking77",
        ["--port", "0"],
        env={"ENVIRONMENT_API_KEY": KEY},
        log_path=tmp_path / "log",
    )
    try:
        wait_for(lambda: listening_port(child.pid), 20.0)
        seen = Path(f"/proc/{child.pid}/environ").read_bytes()
        assert b"canary" not in seen
        assert KEY.encode() in seen
        assert KEY not in " ".join(psutil.Process(child.pid).cmdline())
        assert KEY not in (tmp_path / "log").read_text()
    finally:
        child.stop()


@pytest.mark.parametrize(("key", "error"), [("short", KeyMissingError), (KEY, ConfigError)])
def test_a_child_that_does_not_start_is_told_by_its_own_last_words(
    tmp_path: Path, key: str, error: type[MiproWalkError]
) -> None:
    child = start_process(
        "task-app",
        "task_apps.banking77",
        ["--port", "0", "--data", str(tmp_path / "missing.csv")],
        env={"ENVIRONMENT_API_KEY": key},
        log_path=tmp_path / "log",
    )
    child.wait()
    failure = child.failure()
    child.stop()
    assert type(failure) is error
    assert str(tmp_path / "log") in failure.fix


def test_waiting_for_readiness_ends_with_the_child(tmp_path: Path) -> None:
    before = time.monotonic()
    with pytest.raises(MiproWalkError, match="exit code"):
        start_process("broken", "no_such_module_here", [], env={}, log_path=tmp_path / "log", ready_seconds=30.0)
    assert time.monotonic() - before < 10
    assert records() == []


def test_a_folder_full_of_foreign_modules_cannot_pose_as_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("psutil", "httpx", "uvicorn", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path)
    child = start_process("web", SERVER, ["0", "--bind", "127.0.0.1"], env={}, log_path=tmp_path / "log")
    try:
        wait_for(lambda: listening_port(child.pid))
    finally:
        child.stop()
    assert "planted" not in (tmp_path / "log").read_text()


def test_a_port_held_by_somebody_is_not_free() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert not is_port_free(port)
        found = who_listens(port)
        assert found is not None
        assert found.pid == os.getpid()
