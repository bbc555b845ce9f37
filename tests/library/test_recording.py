"""``record=``: what was paid for is never lost and never paid twice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mipro_walk import exact_match, optimize, optimize_async
from mipro_walk.errors import IncompleteError, PrerequisiteError
from tests.fakes.program import make_program_task, model
from tests.library.conftest import SETTINGS, policy

PROJECT = Path(__file__).parent.parent.parent


class Counting:
    """Counts its calls, and fails from a number of them on."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.calls, self.fail_after = 0, fail_after

    def __call__(self, messages):
        self.calls += 1
        if self.fail_after is not None and self.calls > self.fail_after:
            raise ConnectionError("refused")
        return policy(messages)


def test_the_same_run_again_asks_nobody(task, tmp_path):
    first, second = Counting(), Counting()
    found = [optimize(task, p, settings=SETTINGS, record=tmp_path / "calls.sqlite") for p in (first, second)]
    assert first.calls > 0 == second.calls
    assert found[0].test == found[1].test
    assert [t.as_dict() for t in found[0].trials] == [t.as_dict() for t in found[1].trials]
    assert found[0].test == optimize(task, policy, settings=SETTINGS).test


@pytest.mark.parametrize("max_concurrent", [1, 4])
def test_a_run_that_broke_off_goes_on_where_it_was(task, tmp_path, max_concurrent):
    path, whole = tmp_path / "calls.sqlite", Counting()
    expected = optimize(task, whole, settings=SETTINGS)
    broken, rest = Counting(fail_after=60), Counting()
    with pytest.raises(IncompleteError, match="ConnectionError: refused"):
        optimize(task, broken, settings=SETTINGS, record=path, max_concurrent=max_concurrent)
    result = optimize(task, rest, settings=SETTINGS, record=path, max_concurrent=max_concurrent)
    assert 60 + rest.calls == whole.calls
    assert result.test == expected.test
    assert result.winner == expected.winner


def test_a_killed_process_loses_nothing(task, tmp_path):
    """Started again and again until it comes to its end, with a little progress each time."""
    script = tmp_path / "run.py"
    script.write_text(
        "import time\n"
        "from mipro_walk import make_task, optimize\n"
        "from tests.library.conftest import SETTINGS, policy\n"
        'rows = [(f"{colour} thing {i}", colour) for i in range(50) for colour in ("red", "green")]\n'
        'task = make_task("colours", "Say the colour.", rows[:20], rows[20:50], rows[50:])\n'
        "def slow(messages):\n"
        "    time.sleep(0.02)\n"
        '    print("call", flush=True)\n'
        "    return policy(messages)\n"
        f"result = optimize(task, slow, settings=SETTINGS, record={str(tmp_path / 'calls.sqlite')!r})\n"
        "print(result.test.comparison.verdict, result.rollouts)\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    calls = 0
    for kills in (2, 1, 0):
        process = subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True)
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if kills and len(lines) == 30:
                process.send_signal(signal.SIGKILL)
                break
        rest = process.communicate(timeout=60)[0].split("\n")
        calls += (lines + rest).count("call")
    assert "better" in lines[-1]
    expected = Counting()
    optimize(task, expected, settings=SETTINGS)
    # What is on its way when the kill comes is asked again: the call that runs, and the one that is being written.
    assert expected.calls <= calls <= expected.calls + 2 * 2


def test_other_settings_take_over_what_they_have_in_common(task, tmp_path):
    path, longer = tmp_path / "calls.sqlite", replace(SETTINGS, budget=120)
    optimize(task, Counting(), settings=SETTINGS, record=path)
    alone, with_record = Counting(), Counting()
    expected = optimize(task, alone, settings=longer)
    result = optimize(task, with_record, settings=longer, record=path)
    assert result.test == expected.test
    assert with_record.calls <= alone.calls - SETTINGS.test_size  # the baseline's test rows at least


@pytest.mark.parametrize("change", ["version", "policy", "score"])
def test_what_was_recorded_for_something_else_is_not_used(task, tmp_path, change):
    path = tmp_path / "calls.sqlite"
    asked = []

    def ask(messages):
        asked.append(1)
        return policy(messages)

    def ask_otherwise(messages):
        asked.append(1)
        return policy(messages).upper()

    def first_letter(answer, example):
        return answer[:1].casefold() == example.label[:1]

    optimize(task, ask, settings=SETTINGS, record=path)
    before = len(asked)
    other = {"version": {"version": "2"}, "policy": {"policy": ask_otherwise}, "score": {"score": first_letter}}
    optimize(task, **{"policy": ask, "score": exact_match, "settings": SETTINGS, "record": path, **other[change]})
    assert len(asked) - before >= SETTINGS.test_size


def test_a_programs_traces_are_recorded_too(tmp_path):
    task, path, calls = make_program_task(train=30, val=30, test=40), tmp_path / "calls.sqlite", []
    settings = replace(SETTINGS, budget=150, num_iterations=8, target_score=1.1)

    def ask(messages):
        calls.append(1)
        return model(messages)

    def program(stages, query):
        return stages.add(stages.find(query))

    first = optimize(task, ask, program=program, settings=settings, record=path)
    before = len(calls)
    second = optimize(task, ask, program=program, settings=settings, record=path)
    assert len(calls) == before
    assert second.winner == first.winner
    assert any(len(stage.demo_sets) > 1 for stage in second.space.stages)


def test_what_the_meta_model_wrote_is_recorded(task, tmp_path):
    asked = []

    def write(messages, temperature):
        asked.append(temperature)
        return f"Name the colour that the text begins with, in one word, variant {len(asked)}."

    found = [optimize(task, policy, write, SETTINGS, record=tmp_path / "calls.sqlite") for _ in range(2)]
    before = len(asked)
    assert before > 0
    assert [i.text for i in found[0].space.stages[0].instructions] == [
        i.text for i in found[1].space.stages[0].instructions
    ]
    optimize(task, policy, write, SETTINGS, record=tmp_path / "calls.sqlite")
    assert len(asked) == before


def test_cancelling_keeps_what_was_answered(task, tmp_path):
    path, answered = tmp_path / "calls.sqlite", []

    async def main():
        enough = asyncio.Event()

        async def ask(messages):
            await asyncio.sleep(0.002)
            answered.append(1)
            if len(answered) == 30:
                enough.set()
            return policy(messages)

        running = asyncio.create_task(optimize_async(task, ask, settings=SETTINGS, record=path, max_concurrent=4))
        await enough.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        before = len(answered)
        result = await optimize_async(task, ask, settings=SETTINGS, record=path, max_concurrent=4)
        return before, result

    before, result = asyncio.run(asyncio.wait_for(main(), 60))
    whole = Counting()
    expected = optimize(task, whole, settings=SETTINGS)
    assert result.test == expected.test
    assert len(answered) <= whole.calls + 4
    assert before < whole.calls


def test_progress_says_what_was_reused(task, tmp_path):
    seen = []
    for _ in range(2):
        optimize(
            task,
            policy,
            settings=SETTINGS,
            record=tmp_path / "calls.sqlite",
            on_progress=lambda progress: seen.append(progress.as_dict()),
        )
    assert seen[-1]["recorded_reused"] == seen[-1]["rollouts_done"] > 0


def test_a_file_that_is_no_recording_is_refused(task, tmp_path):
    path = tmp_path / "calls.sqlite"
    path.write_text("not a database, but long enough to look at " * 50, encoding="utf-8")
    with pytest.raises(PrerequisiteError):
        optimize(task, policy, settings=SETTINGS, record=path)
    assert path.read_text(encoding="utf-8").startswith("not a database")


def test_a_file_that_cannot_be_written_is_named(task, tmp_path):
    with pytest.raises(PrerequisiteError, match="cannot"):
        optimize(task, policy, settings=SETTINGS, record=tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_the_file_is_private(task, tmp_path):
    path = tmp_path / "calls.sqlite"
    optimize(task, policy, settings=SETTINGS, record=path)
    assert path.stat().st_mode & 0o077 == 0
