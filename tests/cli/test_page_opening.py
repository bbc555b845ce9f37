"""``--open``: the address is always said, a code only where somebody watches, a browser only on a screen."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
import tomli_w

from mipro_walk.cli import browser as opening
from mipro_walk.cli import page_opening
from mipro_walk.clients.backend import BackendClient
from mipro_walk.errors import MiproWalkError
from mipro_walk.paths import backend_key, home
from mipro_walk.processes import records, stop_record
from tests.backend.conftest import stage  # noqa: F401 - a fixture
from tests.cli.terminal import Terminal, clean_environment, run_command

ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)/#code=([\w-]{43})(?:&job=(\w+))?")


class Backend:
    base_url = "http://127.0.0.1:8000"

    def page_code(self) -> str:
        return "C" * 43


class PageLess(Backend):
    def page_code(self) -> str:
        raise MiproWalkError("The backend answered 404: not found")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the browser was told to open; somebody watches, on a screen."""
    found: list[str] = []
    monkeypatch.setattr(opening.webbrowser, "open", found.append)
    monkeypatch.setattr(page_opening, "is_interactive", lambda: True)
    for name in (*opening.SSH_VARIABLES, "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    return found


def said(client: Backend, job_id: str | None = None) -> str:
    lines: list[str] = []
    page_opening.show_page(client, lines.append, job_id)  # type: ignore[arg-type]
    return "\n".join(lines)


def test_browser_opens_what_is_said(opened: list[str]) -> None:
    text = said(Backend(), "pl_1")
    assert opened == ["http://127.0.0.1:8000/#code=" + "C" * 43 + "&job=pl_1"]
    assert opened[0] in text


def test_address_alone_is_said_over_ssh(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
    assert ADDRESS.search(said(Backend()))
    assert opened == []


def test_no_code_is_made_where_nobody_watches(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_opening, "is_interactive", lambda: False)
    text = said(Backend(), "pl_1")
    assert "http://127.0.0.1:8000/#job=pl_1 " in text
    assert "code" not in text
    assert opened == []


def test_backend_without_a_page_is_said_and_nothing_fails(opened: list[str]) -> None:
    assert "opens no live page" in said(PageLess())
    assert opened == []


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"BROWSER": "lynx"}, "linux", True),
        ({}, "linux", False),
        ({}, "darwin", True),
        ({}, "win32", True),
        ({"CI": "true", "DISPLAY": ":0"}, "linux", False),
        ({"SSH_TTY": "/dev/pts/1"}, "darwin", False),
    ],
)
def test_browser_opens_only_on_a_screen_that_somebody_sees(
    environ: dict[str, str], platform: str, expected: bool
) -> None:
    assert opening.can_open(environ, platform) is expected


# ---- the commands, in a real terminal


@pytest.fixture
def browser(tmp_path: Path) -> Path:
    """A browser that only writes down what it is told to open."""
    script = tmp_path / "browser.sh"
    script.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/opened.txt\n')
    script.chmod(0o700)
    return script


def test_train_opens_the_job_and_its_backend_stays_for_the_page(stage, tmp_path: Path, browser: Path) -> None:  # noqa: F811
    (tmp_path / "config.toml").write_text(tomli_w.dumps(stage.document()))
    environment = clean_environment(
        tmp_path / "home",
        BROWSER=f"{browser} %s",
        OPENAI_API_KEY=stage.model.key,
        OPENAI_BASE_URL=stage.model.base_url,
        ENVIRONMENT_API_KEY=stage.task_app_key,
    )
    arguments = ["train", str(tmp_path / "config.toml"), "--open", "--yes", "--results", str(tmp_path / "r")]
    terminal = Terminal(arguments, environment, columns=160)
    assert terminal.end(seconds=180) == 0, terminal.text
    try:
        found = ADDRESS.fullmatch((tmp_path / "opened.txt").read_text().strip())
        assert found
        assert found[0] in terminal.text
        answer = httpx.post(f"{found[1]}/api/page/sessions", json={"code": found[2]}, trust_env=False)
        headers = {"Authorization": f"Bearer {answer.json()['token']}"}
        url = f"{found[1]}/api/prompt-learning/online/jobs/{found[3]}"
        assert httpx.get(url, headers=headers, trust_env=False).json()["status"] == "succeeded"
    finally:
        (record,) = [record for record in records() if record.name == "backend"]
        assert stop_record(record)


def test_backend_open_uses_the_one_that_runs(stage, tmp_path: Path, browser: Path) -> None:  # noqa: F811
    stage.start_backend()
    environment = clean_environment(tmp_path / "home", BROWSER=f"{browser} %s")
    terminal = Terminal(["backend", "--open"], environment, columns=160)
    assert terminal.end() == 0, terminal.text
    found = ADDRESS.fullmatch((tmp_path / "opened.txt").read_text().strip())
    assert found
    assert found[1] == stage.backend.url
    piped = run_command("backend", "--open", env=environment)
    assert f"Live page: {stage.backend.url}/ " in piped.stderr
    assert "code=" not in piped.stdout + piped.stderr
    client = BackendClient(stage.backend.url, backend_key(home()))
    assert client.jobs() == []
    client.close()
