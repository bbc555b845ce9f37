"""What a terminal really shows while a job is followed: drawn by pyte from the bytes that were written."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pyte
import pytest
from rich.console import Console

from mipro_walk.cli.live import Clock, follow
from mipro_walk.cli.live_panel import RichDisplay
from mipro_walk.cli.results_screen import render
from tests.cli.scripted_backend import JOB_ID, FakeClock, ScriptedBackend, documents, event, status, trial_event

DONE = status("succeeded", done=300, stop_reason="all iterations done")
EVENTS = [event(1, "mipro.phase", "Phase 2: TPE Optimization"), *[trial_event(i, i - 2, 0.5, 0.5) for i in range(2, 9)]]
ALLOWED_ESCAPES = re.compile(r"\x1b\[\??[0-9;]*[A-Za-z]")


def terminal(width: int, encoding: str = "utf-8", **options: Any) -> tuple[Console, io.BytesIO]:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    console = Console(
        file=stream, width=width, height=40, force_terminal=True, highlight=False, emoji=False, markup=False, **options
    )
    return console, raw


def screen_of(raw: io.BytesIO, width: int) -> pyte.Screen:
    screen = pyte.Screen(width, 200)
    pyte.Stream(screen).feed(raw.getvalue().decode("utf-8").replace("\n", "\r\n"))
    return screen


def lines_of(screen: pyte.Screen) -> list[str]:
    return [line.rstrip() for line in screen.display]


def panel(width: int, encoding: str = "utf-8", found: dict[str, Any] | None = None) -> list[str]:
    console, raw = terminal(width, encoding)
    display = RichDisplay(console, JOB_ID)
    for number, item in enumerate(EVENTS):
        display.event(item, float(number))
    display.status(found or status())
    raw.truncate(0)
    raw.seek(0)
    console.print(display._panel())
    return lines_of(screen_of(raw, width))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_panel_says_phase_progress_best_trials_usage_and_time_left(width: int) -> None:
    text = "\n".join(panel(width))
    for part in ("Phase 2 of 4: search, iteration 4/10", "40/300 rollouts, 2 unknown", "about 2:10 left"):
        assert part in text
    assert "0.56 (n=24)" in text
    assert "0.50 (n=6)" in text
    assert "43 model calls" in text
    assert "$0.00" in text


def test_the_panel_of_a_narrow_terminal_lists_trials_as_lines() -> None:
    text = "\n".join(panel(50))
    assert "7: score 0.50 (n=6), best 0.50 (n=6)" in text


def test_the_panel_of_an_ascii_terminal_is_ascii() -> None:
    text = "\n".join(panel(80, "ascii"))
    assert text.isascii()
    assert "####" in text
    assert "\\u" not in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_followed_job_leaves_events_and_summary_and_a_visible_cursor(width: int) -> None:
    console, raw = terminal(width)
    clock = FakeClock()
    backend = ScriptedBackend([(EVENTS, status()), ([], DONE)])
    follow(backend, JOB_ID, console=console, display="rich", clock=Clock(clock.now, clock.sleep))
    screen = screen_of(raw, width)
    text = "\n".join(lines_of(screen))
    assert "Phase 2: TPE Optimization" in text
    assert text.count("Iteration 7/10") == 1
    assert f"OK  Job {JOB_ID} succeeded" in text
    assert "left" not in text  # the panel is gone
    assert not screen.cursor.hidden
    assert ALLOWED_ESCAPES.sub("", raw.getvalue().decode()).count("\x1b") == 0


def test_an_error_in_the_middle_leaves_the_cursor_visible() -> None:
    console, raw = terminal(80)
    clock = FakeClock()
    backend = ScriptedBackend([(EVENTS, status()), ([], ValueError("a defect"))])
    with pytest.raises(ValueError, match="a defect"):
        follow(backend, JOB_ID, console=console, display="rich", clock=Clock(clock.now, clock.sleep))
    assert not screen_of(raw, 80).cursor.hidden


def test_without_colour_no_colour_is_sent() -> None:
    console, raw = terminal(80, no_color=True)
    backend = ScriptedBackend([(EVENTS, DONE)])
    clock = FakeClock()
    follow(backend, JOB_ID, console=console, display="rich", clock=Clock(clock.now, clock.sleep))
    codes = re.findall(r"\x1b\[([0-9;]*)m", raw.getvalue().decode())
    assert all(not 30 <= int(c or 0) <= 49 for code in codes for c in code.split(";"))


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("verdict", ["better", "no significant gain", "worse", None])
def test_the_results_screen_sends_only_styles_and_fits_the_terminal(width: int, verdict: str | None) -> None:
    console, raw = terminal(width)
    render(documents(verdict, demos=14, query="a\x1b[2Jb\x9b31m [red]"), console)
    text = raw.getvalue().decode()
    assert set(re.findall(r"\x1b\[[^A-Za-z]*([A-Za-z])", text)) <= {"m"}
    assert text.count("\x1b") == len(re.findall(r"\x1b\[[0-9;]*m", text))
    shown = "\n".join(lines_of(screen_of(raw, width)))
    assert "a\\x1b[2Jb\\x9b31m [red]" in shown
    assert "Progression of the search" in shown


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_part_of_the_results_is_cut_or_squeezed(width: int, encoding: str) -> None:
    found = documents("better", demos=3)
    # Names of more than 44 characters are shortened, and meant to be.
    told = json.dumps(found["explanations.json"]).replace("balance_not_updated_after_cheque", "apple_pay")
    found["explanations.json"] = json.loads(told)
    used = {"calls": 24, "prompt_tokens": 19824, "completion_tokens": 100, "cost_usd": 0.002}
    phase = {"name": "Bootstrap", "calls": 20, "proposals": 2, "prompt_tokens": 13000, "completion_tokens": 954}
    found["job_metadata.json"] |= {
        "forecast": {"phases": [{**phase, "cost_usd": {"expected": 0.004}}]},
        "usage_by_phase": {"Bootstrap": used},
    }
    console, raw = terminal(width, encoding, no_color=True)
    render(found, console)
    lines = lines_of(screen_of(raw, width))
    text = "\n".join(lines)
    assert not re.search(r"…|\\u2026", text)
    for words in ("22 / 24", "13,954 / 19,924", "$0.004 / $0.002", "card_linking", "apple_pay_or_cash_deposit"):
        assert words in text, words
    if encoding == "ascii":
        assert text.isascii()
        assert "\\u" not in text


STEP = {
    "iteration": 6,
    "parent": 2,
    "instruction": 5,
    "parent_score": 0.33,
    "minibatch_score": 0.67,
    "val_score": 0.5,
    "val_n": 16,
    "best_score": 0.56,
    "best_n": 16,
    "status": "accepted",
}


@pytest.mark.parametrize("width", [50, 80])
def test_the_panel_of_a_job_of_gepa_speaks_of_steps(width: int) -> None:
    console, raw = terminal(width, "utf-8")
    display = RichDisplay(console, JOB_ID)
    display.event(event(1, "gepa.step.complete", "  Step 7: accepted", **STEP), 0.0)
    found = status()
    display.status({**found, "progress": {**found["progress"], "phase": "evolution", "phases": 3, "iteration": 7}})
    raw.truncate(0)
    raw.seek(0)
    console.print(display._panel())
    text = "\n".join(lines_of(screen_of(raw, width)))
    assert "Phase 2 of 3: evolution, step 7" in text
    assert "0.50 (n=16)" in text
    assert "demo set" not in text
    if width == 80:
        assert "2 > 5" in text
        assert "0.33 > 0.67" in text
