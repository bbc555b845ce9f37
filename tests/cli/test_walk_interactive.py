"""The walkthrough as a person meets it: prompts, back, skip, quit, resume, Ctrl-C, a closed terminal."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli.terminal import Terminal, clean_environment

PROMPT = "quit   ›"
STEPS = ("Prerequisites", "Task app key", "Task app", "Configuration")


class Walk:
    """Starts walkthroughs in one home and work folder; ends what is left of them."""

    def __init__(self, folder: Path) -> None:
        self.workdir = folder / "work folder"
        self.home = folder / "home"
        self.started: list[Terminal] = []

    def start(self, *arguments: str, columns: int = 80, **environment: str) -> Terminal:
        options = ["run", "--workdir", str(self.workdir), *arguments]
        terminal = Terminal(options, clean_environment(self.home, **environment), columns)
        self.started.append(terminal)
        return terminal

    def task_app_pids(self) -> list[int]:
        return [json.loads(path.read_text())["pid"] for path in (self.home / "run").glob("task-app-*.json")]


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    walk = Walk(tmp_path)
    yield walk
    for terminal in walk.started:
        terminal.child.close(force=True)


def go_to(terminal: Terminal, step: int) -> None:
    """Press Enter until the question of ``step`` is on the screen."""
    for number in range(1, step + 1):
        terminal.wait_for(f"Step {number} of 6")
        terminal.wait_for(PROMPT)
        if number < step:
            terminal.answer("")


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_four_enters_lead_to_the_plan_and_every_screen_fits(walk: Walk, columns: int) -> None:
    terminal = walk.start("--dry-run", "--task-app-port", "0", columns=columns)
    for number, title in enumerate(STEPS, start=1):
        terminal.wait_for(f"Step {number} of 6 · {title}")
        terminal.wait_for(PROMPT)
        assert "command" in terminal.text
        terminal.answer("")
    assert terminal.end() == 0
    assert "What a run of this will take" in terminal.text
    assert "nothing: the model runs on this" in terminal.text
    assert 'algorithm = "mipro"' in terminal.text
    assert all(len(line) <= columns for line in terminal.text.splitlines())
    assert (walk.workdir / "mipro_config.toml").exists()


def test_the_terminal_is_left_as_it_was(walk: Walk) -> None:
    terminal = walk.start("--dry-run", "--task-app-port", "0")
    go_to(terminal, 4)
    terminal.answer("")
    assert terminal.end() == 0
    assert terminal.raw.count("\x1b[?25l") == terminal.raw.count("\x1b[?25h"), "the cursor is visible again"
    assert not re.search(r"\x1b\](?!8)", terminal.raw), "no title or clipboard is touched"


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"MIPRO_WALK_COLOR": "never"}], ids=["NO_COLOR", "never"])
def test_without_colour_no_style_is_sent(walk: Walk, environment: dict[str, str]) -> None:
    terminal = walk.start("--dry-run", "--task-app-port", "0", **environment)
    go_to(terminal, 2)
    terminal.answer("q")
    terminal.end()
    assert not re.search(r"\x1b\[[\d;]*m", terminal.raw)


def test_an_ascii_terminal_gets_ascii_only(walk: Walk) -> None:
    terminal = walk.start("--dry-run", "--task-app-port", "0", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    terminal.wait_for("Step 1 of 6 - Prerequisites")
    terminal.wait_for("q quit")
    terminal.answer("")
    terminal.wait_for("Step 2 of 6")
    terminal.wait_for("q quit")
    terminal.answer("q")
    assert terminal.end() == 7
    assert terminal.raw.isascii()


def test_back_shows_the_step_before_and_an_unknown_answer_is_asked_again(walk: Walk) -> None:
    terminal = walk.start("--dry-run", "--task-app-port", "0")
    go_to(terminal, 2)
    terminal.answer("x")
    terminal.wait_for("Please type one of b, q, or press Enter.")
    terminal.answer("b")
    terminal.wait_for("Step 1 of 6")
    terminal.wait_for(PROMPT)
    assert "b back" not in terminal.text, "there is nothing before step 1"
    assert "s skip" not in terminal.text, "step 1 cannot be skipped"
    terminal.answer("q")
    assert terminal.end() == 7


def test_the_key_step_can_be_skipped_only_when_there_is_a_key(walk: Walk) -> None:
    terminal = walk.start("--dry-run", "--task-app-port", "0")
    go_to(terminal, 2)
    assert "s skip" not in terminal.text
    terminal.answer("")
    terminal.wait_for("Step 3 of 6")
    terminal.wait_for(PROMPT)
    key = (walk.workdir / "env_key.txt").read_text()
    terminal.answer("b")
    terminal.wait_for("s skip")
    terminal.answer("s")
    terminal.wait_for("Step 3 of 6")
    terminal.wait_for(PROMPT)
    terminal.answer("q")
    assert terminal.end() == 7
    assert (walk.workdir / "env_key.txt").read_text() == key
    assert key.strip() not in terminal.raw


def test_quitting_keeps_the_state_and_the_next_start_goes_on_there(walk: Walk) -> None:
    terminal = walk.start("--dry-run", "--task-app-port", "0")
    go_to(terminal, 3)
    terminal.answer("q")
    assert terminal.end() == 7
    assert "Stopped; what is done is kept." in terminal.text
    assert "mipro-walk run --workdir" in terminal.text

    again = walk.start("--dry-run", "--task-app-port", "0")
    again.wait_for("Steps 1, 2 are done")
    again.wait_for("go on at step 3")
    again.answer("")
    again.wait_for("Step 3 of 6")
    again.wait_for(PROMPT)
    assert "Step 1 of 6" not in again.text
    again.answer("q")
    assert again.end() == 7


def test_starting_over_begins_at_step_one(walk: Walk) -> None:
    terminal = walk.start("--dry-run", "--task-app-port", "0")
    go_to(terminal, 2)
    terminal.answer("q")
    terminal.end()
    again = walk.start("--dry-run", "--task-app-port", "0")
    again.wait_for("1 start over")
    again.answer("1")
    again.wait_for("Step 1 of 6")
    again.wait_for(PROMPT)
    again.answer("q")
    assert again.end() == 7


def test_another_profile_can_be_chosen_and_a_missing_key_for_it_is_said(walk: Walk) -> None:
    terminal = walk.start("--dry-run", "--task-app-port", "0")
    go_to(terminal, 4)
    terminal.answer("p")
    terminal.wait_for("Which profile?")
    terminal.wait_for("production")
    terminal.answer("1")
    terminal.wait_for("Profile walkthrough")
    terminal.wait_for(PROMPT)
    terminal.answer("")
    assert terminal.end() == 4
    assert "OPENAI_API_KEY" in terminal.text


def test_the_end_of_input_is_a_quit(walk: Walk) -> None:
    terminal = walk.start("--dry-run", "--task-app-port", "0")
    go_to(terminal, 2)
    terminal.child.sendeof()
    assert terminal.end() == 7
    assert "Stopped; what is done is kept." in terminal.text


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, 137)]
)
def test_no_signal_leaves_a_server_behind(walk: Walk, number: signal.Signals, code: int) -> None:
    terminal = walk.start("--dry-run", "--task-app-port", "0")
    go_to(terminal, 4)  # the task app of step 3 runs
    (pid,) = walk.task_app_pids()
    if number == signal.SIGINT:
        terminal.child.sendintr()
    else:
        terminal.child.kill(number)
    assert terminal.end() == code
    assert_gone(pid)
    assert json.loads((walk.workdir / "state.json").read_text())["completed"] == [1, 2, 3]


def test_closing_the_terminal_leaves_no_server_behind(walk: Walk) -> None:
    terminal = walk.start("--dry-run", "--task-app-port", "0")
    go_to(terminal, 4)
    (pid,) = walk.task_app_pids()
    terminal.child.close(force=False)
    assert_gone(pid)


def test_a_stranger_on_the_port_is_named_and_left_alone(walk: Walk) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        terminal = walk.start("--dry-run", "--task-app-port", str(port))
        go_to(terminal, 3)
        terminal.answer("")
        terminal.wait_for(f"Port {port} is taken by")
        terminal.wait_for("take a free port")
        assert f"pid {psutil.Process().pid}" in terminal.text
        assert "u use" not in terminal.text
        terminal.answer("")
        terminal.wait_for("Task app is running at")
        terminal.wait_for(PROMPT)
        assert f":{port}" not in terminal.text.split("running at")[1].split()[0]
        terminal.answer("q")
        assert terminal.end() == 7


def assert_gone(pid: int, seconds: float = 3.0) -> None:
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the task app still runs"
        time.sleep(0.02)
