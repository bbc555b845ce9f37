"""Following a job against a scripted backend, with a fake clock."""

from __future__ import annotations

import io
import json
import os
import signal
from typing import Any

import pytest
from rich.console import Console

from mipro_walk.cli.live import Clock, StoppedByUserError, follow, last_event
from mipro_walk.errors import ConfigError, UnreachableError
from tests.cli.scripted_backend import (
    JOB_ID,
    FakeClock,
    ScriptedBackend,
    event,
    silent,
    status,
    trial_event,
)

DONE = status("succeeded", done=300, stop_reason="all iterations done")
PHASE = event(1, "mipro.phase", "Phase 2: TPE Optimization", phase=2)


def watch(backend: ScriptedBackend, display: str = "plain", width: int = 80, **options: Any) -> tuple[Any, str]:
    clock = FakeClock()
    console = Console(file=io.StringIO(), width=width, highlight=False, emoji=False, markup=False)
    found = follow(backend, JOB_ID, console=console, display=display, clock=Clock(clock.now, clock.sleep), **options)
    return found, console.file.getvalue()  # type: ignore[attr-defined]


def test_plain_prints_a_line_for_each_event_and_a_summary_that_stays() -> None:
    backend = ScriptedBackend([([PHASE], status()), ([trial_event(2, 0, 0.5, 0.5)], DONE)])
    found, text = watch(backend)
    assert found["status"] == "succeeded"
    assert "Phase 2: TPE Optimization" in text
    assert "  Iteration 1/10... score: 0.50 (n=6) best: 0.50 (n=6)" in text
    assert f"OK  Job {JOB_ID} succeeded (all iterations done)" in text
    assert "300/300 rollouts, 2 unknown in 0:42" in text
    assert "303 model calls, 13,245 + 978 tokens (in + out), $0.00" in text


def test_plain_prints_frequent_events_once_a_second_and_says_how_many_it_left_out() -> None:
    burst = [trial_event(seq, seq - 1, 0.5, 0.5) for seq in range(1, 31)]
    _, text = watch(ScriptedBackend([(burst, status()), ([], status()), ([], DONE)]))
    lines = [line for line in text.splitlines() if "Iteration" in line]
    assert len(lines) == 2
    assert lines[-1].startswith("  Iteration 30/10")
    assert lines[-1].endswith("(+28 more)")


def test_plain_never_holds_back_a_warning_or_a_phase() -> None:
    burst = [trial_event(1, 0, 0.5, 0.5), trial_event(2, 1, 0.5, 0.5), event(3, "mipro.notice", "slow", "warning")]
    _, text = watch(ScriptedBackend([(burst, DONE)]))
    assert [line.split("...")[0].strip() for line in text.splitlines()[:3]] == [
        "Iteration 1/10",
        "Iteration 2/10",
        "WARN slow",
    ]


def test_plain_says_that_the_job_lives_after_five_silent_seconds() -> None:
    _, text = watch(ScriptedBackend([([PHASE], status()), *[([], status())] * 40, ([], DONE)]))
    beats = [line for line in text.splitlines() if line.startswith("... Phase 2 of 4: search, iteration 4/10")]
    assert len(beats) == 2  # twelve silent seconds
    assert "40/300 rollouts" in beats[0]
    assert "about 2:10 left" in beats[0]


def test_every_event_is_seen_once_and_in_order_however_many_pages_there_are() -> None:
    first = [event(seq, "mipro.notice", f"n{seq}") for seq in range(1, 451)]
    last = [event(seq, "mipro.notice", f"n{seq}") for seq in range(451, 460)]
    seen: list[int] = []
    backend = ScriptedBackend([(first, status()), ([], status()), ([], DONE), (last, DONE)])
    watch(backend, "none", on_event=lambda e: seen.append(e["seq"]))
    assert seen == list(range(1, 460))


def test_log_writes_json_lines_only() -> None:
    _, text = watch(ScriptedBackend([([PHASE, trial_event(2, 0, 0.5, 0.5)], DONE)]), "log", width=20)
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["type"] for line in lines] == ["mipro.phase", "mipro.trial.complete", "mipro_walk.status"]


def test_none_shows_nothing() -> None:
    assert watch(ScriptedBackend([([PHASE], DONE)]), "none")[1] == ""


def test_an_unknown_display_is_a_usage_error() -> None:
    with pytest.raises(ConfigError, match="no display 'fancy'"):
        watch(ScriptedBackend([([], DONE)]), "fancy")


def test_a_backend_that_is_silent_for_thirty_seconds_ends_the_watching_with_the_way_back() -> None:
    backend = ScriptedBackend([([PHASE], status()), ([], silent())])
    with pytest.raises(UnreachableError) as caught:
        watch(backend)
    assert "silent for 30 s" in caught.value.message
    assert f"mipro-walk resume {JOB_ID}" in caught.value.fix


def test_a_backend_that_comes_back_in_time_is_followed_to_the_end() -> None:
    script: list[Any] = [([PHASE], status()), *[([], silent())] * 60, ([trial_event(2, 0, 0.5, 0.5)], DONE)]
    found, text = watch(ScriptedBackend(script))
    assert found["status"] == "succeeded"
    assert text.count("The backend does not answer; trying again.") == 1
    assert "Iteration 1/10" in text


def interrupt_at(*polls: int) -> Any:
    def on_poll(poll: int) -> None:
        if poll in polls:
            os.kill(os.getpid(), signal.SIGINT)

    return on_poll


def test_the_first_ctrl_c_pauses_our_job_and_says_how_to_go_on() -> None:
    backend = ScriptedBackend([([PHASE], status())])
    backend.on_poll = interrupt_at(2)
    with pytest.raises(StoppedByUserError) as caught:
        watch(backend)
    assert "pause" in backend.asked
    assert caught.value.exit_code == 130
    assert f"mipro-walk resume {JOB_ID}" in caught.value.fix


def test_the_second_ctrl_c_leaves_at_once() -> None:
    backend = ScriptedBackend([([], status())])
    backend.pause = lambda job_id: {}  # type: ignore[method-assign]
    backend.on_poll = interrupt_at(2, 4)
    with pytest.raises(StoppedByUserError, match="Left at once"):
        watch(backend)


def test_a_job_that_does_not_pause_is_left_after_ten_seconds() -> None:
    backend = ScriptedBackend([([], status())])
    backend.pause = lambda job_id: {}  # type: ignore[method-assign]
    backend.on_poll = interrupt_at(2)
    with pytest.raises(StoppedByUserError, match="did not pause within 10 s"):
        watch(backend)


def test_ctrl_c_only_detaches_from_a_backend_that_is_not_ours() -> None:
    backend = ScriptedBackend([([], status())])
    backend.on_poll = interrupt_at(2)
    with pytest.raises(StoppedByUserError, match="goes on at its backend") as caught:
        watch(backend, on_interrupt="detach")
    assert "pause" not in backend.asked
    assert caught.value.exit_code == 130


def test_the_callers_ctrl_c_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    watch(ScriptedBackend([([], DONE)]))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_finished_job_wins_over_a_ctrl_c_that_came_too_late() -> None:
    backend = ScriptedBackend([([], status()), ([], DONE)])
    backend.pause = lambda job_id: {}  # type: ignore[method-assign]
    backend.on_poll = interrupt_at(0)
    assert watch(backend)[0]["status"] == "succeeded"


def test_an_unknown_price_is_said_and_never_shown_as_zero() -> None:
    _, text = watch(ScriptedBackend([([], status("succeeded", cost=None))]))
    assert "cost unknown" in text
    assert "$0" not in text


def test_foreign_text_in_events_is_shown_and_never_obeyed() -> None:
    hostile = event(1, "mipro.notice", "a\x1b[2Jb [red]c[/red] \u202e\x9b31m\rd", "info")
    _, text = watch(ScriptedBackend([([hostile], DONE)]), "plain")
    assert "a\\x1b[2Jb [red]c[/red] \\u202e\\x9b31m d" in text


def test_what_an_earlier_session_showed_is_not_shown_again() -> None:
    old = [PHASE, trial_event(2, 0, 0.5, 0.5)]
    _, text = watch(ScriptedBackend([(old, status()), ([trial_event(3, 1, 0.67, 0.67)], DONE)]), known_until=2)
    assert "Phase 2: TPE" not in text
    assert "Iteration 1/10" not in text
    assert "Iteration 2/10" in text


def test_the_summary_of_a_paused_job_keeps_the_last_figures_seen() -> None:
    paused = status("paused", progress={"phase": "paused", "usage": {}})
    _, text = watch(ScriptedBackend([([PHASE], status(done=77)), *[([], status(done=78))] * 4, ([], paused)]))
    assert "PAUSED" in text
    assert "78/300 rollouts" in text


def test_the_last_event_is_found_over_several_pages() -> None:
    backend = ScriptedBackend([([event(seq, "mipro.notice", "n") for seq in range(1, 451)], status())])
    assert last_event(backend, JOB_ID) == 450
    assert last_event(ScriptedBackend([([], status())]), JOB_ID) == 0
