"""Nothing is silent for more than five seconds, whatever is slow: a step, a backend that hangs, a model."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from rich.console import Console

from mipro_walk.backend import in_process
from mipro_walk.backend.in_process import load_data, run_in_process
from mipro_walk.cli import heartbeat, live
from mipro_walk.cli.heartbeat import HEARTBEAT_SECONDS, Heartbeat
from mipro_walk.cli.ui import TerminalUi
from tests.backend.conftest import scripted_answer
from tests.backend.test_in_process import config_for, settings_for
from tests.cli.scripted_backend import JOB_ID, FakeClock, ScriptedBackend, status
from tests.fakes.openai_server import ScriptedOpenAI

LONG = 60.0
DONE = status("succeeded", done=300)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make five seconds short."""
    first = Heartbeat.__init__
    monkeypatch.setattr(Heartbeat, "__init__", lambda self, say, every=0.02: first(self, say, every))


def plain_console() -> Console:
    return Console(file=io.StringIO(), width=80, highlight=False, emoji=False, markup=False)


def test_five_seconds_are_the_limit() -> None:
    assert heartbeat.HEARTBEAT_SECONDS == in_process.SILENT_SECONDS == HEARTBEAT_SECONDS == 5.0


def test_it_speaks_again_and_again_and_never_after_the_end() -> None:
    said: list[float] = []
    third = threading.Event()

    def say(seconds: float) -> None:
        said.append(seconds)
        if len(said) == 3:
            third.set()

    with Heartbeat(say, 0.01):
        assert third.wait(LONG)
    count = len(said)
    assert said == sorted(said)
    assert not threading.Event().wait(0.1)
    assert len(said) == count


def test_it_is_silent_while_something_is_heard() -> None:
    said: list[float] = []
    with Heartbeat(said.append, 30.0) as beat:
        for _ in range(100):
            beat.alive()
    assert said == []


def test_slow_step_without_a_terminal_says_that_it_is_still_at_it(fast: None) -> None:
    console = plain_console()
    file = console.file
    spoke = threading.Event()
    write = file.write
    file.write = lambda text: (write(text), spoke.set() if "still at it" in text else None)[0]  # type: ignore[method-assign]
    with TerminalUi(console, is_interactive=False).working("Fetching rows") as tell:
        assert spoke.wait(LONG)
        tell("row 7")
    text = file.getvalue()  # type: ignore[attr-defined]
    assert text.startswith("  ...   Fetching rows\n  ...   still at it, ")
    assert "  ...   row 7\n" in text


@pytest.mark.parametrize("display", ["plain", "rich"])
def test_backend_that_hangs_in_an_answer_is_said(fast: None, display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spoke = threading.Event()
    words = live._silence
    monkeypatch.setattr(live, "_silence", lambda seconds: (spoke.set(), words(seconds))[1])
    backend = ScriptedBackend([([], status()), ([], DONE)])

    def hang(poll: int) -> None:
        if poll == 1:
            assert spoke.wait(LONG)

    backend.on_poll = hang
    console, clock = plain_console(), FakeClock()
    found: Any = live.follow(
        backend, JOB_ID, console=console, display=display, clock=live.Clock(clock.now, clock.sleep)
    )
    assert found["status"] == "succeeded"
    assert "... waiting for the backend's answer, 0 s" in console.file.getvalue()  # type: ignore[attr-defined]


def test_slow_model_call_of_a_job_in_process_is_said(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_process, "SILENT_SECONDS", 0.05)
    told: list[Any] = []
    spoke = threading.Event()

    def hear(found: Any) -> None:
        told.append(found)
        spoke.set()

    def slow_once(body: Any) -> Any:
        assert spoke.wait(LONG)
        return scripted_answer(body)

    with ScriptedOpenAI(answer=slow_once) as model:
        job, _ = run_in_process(
            settings_for(tmp_path, model), config_for(tmp_path, model), load_data(), lambda _: None, 0.02, hear
        )
    assert job.status == "succeeded"
    assert told[0]["status"] in ("queued", "running")
    from mipro_walk.cli.progress_words import heartbeat as in_words

    assert in_words(told[-1]).startswith("... ")
    assert set(told[-1]["progress"]["usage"]) == {"policy", "meta"}
