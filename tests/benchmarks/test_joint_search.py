"""The measurement of programs of two stages: its programs are as good as they say, its command runs."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SIZES = (4, 3, 4, 3)


@pytest.fixture
def parts(monkeypatch):
    """The modules of the benchmark; they import each other as scripts do."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import programs
    import schedules

    return programs, schedules


def drawn(programs, name, seed=0):
    (family,) = [family for family in programs.PROGRAM_FAMILIES if family.name == name]
    return programs.Program(family, SIZES, seed)


@pytest.mark.parametrize("name", ["additive", "both right", "pair", "forms"])
def test_programs_answer_as_often_right_as_their_truth_says(parts, name):
    programs, _ = parts
    program = drawn(programs, name)
    assert program.truth[0, 0, 0, 0] == pytest.approx(programs.START)
    errors = [
        program.ask(key, range(programs.VAL_ROWS)).mean() - program.truth[key]
        for key in itertools.product(*map(range, SIZES))
    ]
    # Sixty percent of the luck of a row is common to all programs, so their errors are, too.
    assert abs(np.mean(errors)) < 0.04
    assert np.std(errors) < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_the_pair_pays_only_together(parts, seed):
    programs, _ = parts
    truth = drawn(programs, "pair", seed).truth.reshape(12, 12)
    together = truth - truth[:, :1] - truth[:1] + truth[0, 0]
    assert set(np.round(together, 9).flat) == {0.0, 0.15}


@pytest.mark.parametrize("way", ["joint", "stage after stage", "random"])
def test_every_way_keeps_to_its_calls_and_returns_a_program(parts, way):
    programs, schedules = parts
    ways = {
        "joint": schedules.ours("tpe"),
        "stage after stage": schedules.stage_after_stage,
        "random": schedules.random_search,
    }
    program = drawn(programs, "additive")
    trace = []
    pick = ways[way](program, 120, 0, trace)
    assert 100 <= program.calls <= 120
    assert 0 <= program.regret(pick.key) <= np.ptp(program.truth)
    assert trace[-1] == (program.calls, pick.key)


def test_stage_after_stage_keeps_what_the_first_stage_won(parts):
    programs, schedules = parts
    trace = []
    pick = schedules.stage_after_stage(drawn(programs, "additive"), 300, 0, trace)
    first = [key for calls, key in trace if calls <= 150]
    second = [key for calls, key in trace if calls > 150]
    assert {key[2:] for key in first} == {(0, 0)}
    assert {key[:2] for key in second} == {first[-1][:2]} == {pick.key[:2]}
    assert len({key[2:] for key in second}) > 1


def test_the_command_prints_every_way_and_replaces_its_part_of_a_document(tmp_path):
    document = tmp_path / "search.md"
    document.write_text("before\n<!-- joint_search -->\nold\n<!-- end joint_search -->\nafter\n", encoding="utf-8")
    asked = ["--quick", "--seeds", "2", "--jobs", "1", "--write", str(document)]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "joint_search.py"), *asked], capture_output=True, text=True, check=True
    )
    written = document.read_text(encoding="utf-8")
    assert done.stdout.strip() in written
    assert "old" not in written
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    for way in ("joint", "stage after stage", "random"):
        assert f"| {way} |" in done.stdout
