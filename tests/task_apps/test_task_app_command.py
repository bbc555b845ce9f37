"""The command line: exit codes, messages, log lines."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from task_apps.banking77 import __main__ as command
from task_apps.serving.settings import KeyProblem, Settings, is_loopback, settings_from

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "task_apps.banking77", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"ENVIRONMENT_API_KEY": ""},
        {"ENVIRONMENT_API_KEY": "secret-but-short"},
        {"ENVIRONMENT_API_KEY": "secret with spaces " * 3},
        {"ENVIRONMENT_API_KEY": "k" * 32, "ENVIRONMENT_API_KEY_ALIASES": "secret-alias"},
    ],
)
def test_missing_or_weak_key_exits_4_without_showing_it(environ: dict[str, str]) -> None:
    result = run("--port", "0", **environ)
    assert result.returncode == 4
    assert "Traceback" not in result.stderr
    assert "secret" not in result.stderr.replace("import secrets; print(secrets.token_hex(32))", "")


def test_unreadable_data_exits_2(kit: Any, tmp_path: Path) -> None:
    result = run("--port", "0", "--data", str(tmp_path), ENVIRONMENT_API_KEY=kit.key)
    assert result.returncode == 2
    assert "no train.csv" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "70000"],
        ["--port", "x"],
        ["--source", "web"],
        ["--source", "hub", "--data", "x"],
        ["--host", "0.0.0.0"],
    ],
)
def test_wrong_usage_exits_2(kit: Any, arguments: list[str]) -> None:
    result = run(*arguments, ENVIRONMENT_API_KEY=kit.key)
    assert (result.returncode, "Traceback" in result.stderr) == (2, False)


def test_taken_port_exits_5_and_names_it(kit: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("--port", str(port), ENVIRONMENT_API_KEY=kit.key)
    assert result.returncode == 5
    assert f"Port {port} is in use" in result.stderr


def test_server_says_what_it_serves_and_logs_neither_query_nor_key(kit: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "task_apps.banking77", "--port", "0"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "ENVIRONMENT_API_KEY": kit.key, "TASK_APP_INSTANCE_ID": "me"},
            stderr=file,
            stdout=file,
        )
    try:
        url = wait_for_url(process, log)
        with httpx.Client(base_url=url, headers={"X-API-Key": kit.key}, trust_env=False) as caller:
            assert caller.get("/health").json()["instance_id"] == "me"
            assert caller.get("/task_info?seed=1&canary=1").status_code == 200
        # httpx refuses addresses of this length, other clients do not.
        direct = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
        direct.request("GET", "/task_info?" + "seed=1234&" * 10_001 + "canary", headers={"X-API-Key": kit.key})
        assert direct.getresponse().status == 422
        direct.close()
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=20)
    text = log.read_text()
    assert code == 130
    assert '"GET /task_info HTTP/1.1" 200' in text
    assert re.search(r"source sample .* 77 labels, rows train \d+, val \d+, test \d+, sha256 [0-9a-f]{64}", text)
    assert "canary" not in text
    assert kit.key not in text
    assert "Traceback" not in text


def wait_for_url(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until the server listens; poll its log, since it took a free port of its own."""
    for _ in range(600):
        text = log.read_text()
        found = re.search(r"http://127\.0\.0\.1:\d+", text)
        if found and "startup complete" in text:
            return found[0]
        if process.poll() is not None:
            break
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(log.read_text())


def test_listening_socket_is_marked_as_tcp_so_that_answers_do_not_wait_for_acknowledgements() -> None:
    with command.bind("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_development_key_serves_when_the_other_is_not_set() -> None:
    assert settings_from({"DEV_ENVIRONMENT_API_KEY": "d" * 32}).key == "d" * 32
    both = {"DEV_ENVIRONMENT_API_KEY": "d" * 32, "ENVIRONMENT_API_KEY": "e" * 32}
    assert settings_from({**both, "ENVIRONMENT_API_KEY_ALIASES": f" {'a' * 32} ,"}).aliases == ("a" * 32,)
    assert settings_from(both).key == "e" * 32


def test_settings_never_print_a_key() -> None:
    assert "kkkk" not in repr(Settings("k" * 32, aliases=("k" * 33,)))
    with pytest.raises(KeyProblem) as caught:
        Settings("k" * 31)
    assert "kkkk" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_loopback_is_recognised(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
