"""`mipro-walk compare` by the real program, and what it shows."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mipro_walk.backend.in_process import load_data
from mipro_walk.cli.compare_command import read_seeds
from mipro_walk.cli.compare_live import CompareWatch, watch_to_the_end
from mipro_walk.cli.compare_screen import render, verdicts_in_words
from mipro_walk.comparison.document import methods_document
from mipro_walk.comparison.methods import METHODS
from mipro_walk.comparison.runs import MissingRun
from mipro_walk.errors import ConfigError
from mipro_walk.types import Event, Outcome
from tests.cli.terminal import Terminal, clean_environment, run_command
from tests.comparison.conftest import make_run
from tests.comparison.test_document import SETTING
from tests.fakes.openai_server import Scripted, ScriptedOpenAI, keyword_answer

CONFIG = """
[prompt_learning]
results_folder = "found"
[prompt_learning.policy]
provider = "openai"
model = "gpt-4o-mini"
[prompt_learning.env_config]
num_intents = 10
[prompt_learning.mipro]
num_demos = 5
test_size = 20
max_retries = 0
bootstrap_train_seeds = [{ start = 0, end = 40 }]
"""
TRUTH = {row.text: row.label for rows in load_data().splits.values() for row in rows}


@pytest.fixture
def model():
    with ScriptedOpenAI(answer=partial(keyword_answer, truth=TRUTH)) as server:
        yield server


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mipro_config.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def environment(tmp_path: Path, model: ScriptedOpenAI | None = None) -> dict[str, str]:
    keys = {"OPENAI_API_KEY": model.key, "OPENAI_BASE_URL": model.base_url} if model else {}
    return clean_environment(tmp_path / "home", **keys)


def call(tmp_path: Path, *arguments: object, model: ScriptedOpenAI | None = None) -> subprocess.CompletedProcess[str]:
    return run_command("compare", *arguments, env=environment(tmp_path, model), cwd=tmp_path)


# ---- methods


def test_methods_are_run_shown_and_written_and_the_same_command_pays_nothing_again(tmp_path, model, config):
    arguments = (config, "--methods", "mipro,demos-only,baseline", "--rng-seeds", "0-1", "--yes")
    first = call(tmp_path, *arguments, model=model)
    assert first.returncode == 0, first.stderr
    assert "MIPRO (mean of 2)" in first.stdout
    assert "on the same 20 test rows, mean of 2 rng seeds" in first.stdout
    assert "[5/5] demos only, rng seed 1" in first.stderr
    assert "\x1b" not in first.stdout + first.stderr
    asked = len(model.bodies)
    again = call(tmp_path, *arguments, "--json", model=model)
    assert len(model.bodies) == asked
    folder = tmp_path / "found"
    document = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert json.loads(again.stdout) == document
    assert [entry["name"] for entry in document["entries"]] == ["mipro", "demos-only", "baseline"]
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "comparison.json": 0o600,
        "compare.html": 0o600,
    }
    assert sum(entry["calls_made"] for entry in document["entries"]) == asked


def test_nothing_is_called_on_a_paid_endpoint_without_consent(tmp_path, model, config):
    done = call(tmp_path, config, model=model)
    assert done.returncode == 2
    assert "openai/gpt-4o-mini, which may cost money" in done.stderr
    assert re.search(r"13 runs, at most [\d,]+ calls, \$\d", done.stderr)
    assert not model.requests


def test_a_dry_run_says_what_each_method_takes_without_key_or_call(tmp_path, config):
    done = call(tmp_path, config, "--methods", "mipro,gepa,baseline", "--rng-seeds", "0-4", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    found = {row["method"]: row for row in json.loads(done.stdout)["forecast"]}
    assert {name: row["runs"] for name, row in found.items()} == {"MIPRO": 5, "GEPA": 5, "baseline": 1}
    assert found["MIPRO"]["each"]["calls"] == 100 + 2 * 20
    assert found["baseline"]["each"]["calls"] == 20
    text = call(tmp_path, config, "--dry-run").stdout
    assert "random search: 3 runs of 140 rollouts" in text


def test_a_run_that_failed_is_left_out_said_and_tried_again(tmp_path, model, config):
    answer = model.answer
    model.answer = lambda body: answer(body) if len(model.requests) < 60 else Scripted.error(401)
    arguments = (config, "--methods", "baseline,mipro", "--rng-seeds", "0", "--yes")
    first = call(tmp_path, *arguments, model=model)
    assert first.returncode == 7
    assert "MIPRO, rng seed 0 failed and is left out" in first.stderr
    assert "WARN MIPRO, rng seed 0, is left out" in first.stdout
    assert "1 of 2 runs are left out" in first.stderr
    model.answer = answer
    assert call(tmp_path, *arguments, model=model).returncode == 0


def test_the_cap_holds_for_all_runs_together(tmp_path, model, config):
    done = call(tmp_path, config, "--methods", "baseline,mipro", "--max-cost-usd", "0.01", model=model)
    assert done.returncode == 7
    assert "max_cost_usd = 0.01 is reached" in done.stderr
    assert "baseline" in done.stdout


def test_ctrl_c_stops_after_the_calls_in_flight_and_the_same_command_goes_on(tmp_path, model, config):
    arguments = ["compare", str(config), "--methods", "mipro", "--rng-seeds", "0", "--yes"]
    answer, reached = model.answer, threading.Event()

    def slowly(body: Any) -> Any:
        if len(model.requests) > 40:
            reached.set()
            threading.Event().wait(0.05)
        return answer(body)

    model.answer = slowly
    terminal = Terminal(arguments, environment(tmp_path, model))
    terminal.wait_for("rollouts", 120)
    assert reached.wait(120)
    terminal.child.kill(signal.SIGINT)
    assert terminal.end(120) == 130
    assert "The same command goes on" in terminal.text
    stopped = len(model.bodies)
    model.answer = answer
    done = call(tmp_path, *arguments[1:], model=model)
    assert done.returncode == 0, done.stderr
    assert stopped < len(model.bodies)
    rows = [json.dumps(body) for body in model.bodies if "tools" in body]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--methods", "mirpo"], "There is no method 'mirpo'"),
        (["--methods", ","], "--methods names none"),
        (["--rng-seeds", "0..3"], "--rng-seeds '0..3' cannot be read"),
        (["--data", "nothing.csv"], "nothing.csv"),
    ],
)
def test_wrong_options_are_refused_with_a_fix(tmp_path, config, arguments, words):
    done = call(tmp_path, config, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Fix:" in done.stderr


@pytest.mark.parametrize(("text", "seeds"), [("0-2", (0, 1, 2)), ("3", (3,)), ("0, 5-6,0", (0, 5, 6))])
def test_rng_seeds_are_read_as_ranges_and_lists(text, seeds):
    assert read_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "-1", "2-0", "a", "0-100", "0-60,100-160", "99999999999"])
def test_rng_seeds_that_make_no_sense_are_refused(text):
    with pytest.raises(ConfigError, match="--rng-seeds"):
        read_seeds(text)


# ---- two jobs


@pytest.fixture
def jobs(tmp_path, model, config):
    """Return the result folders of two finished jobs; the second one has no demonstrations."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, demos in zip(folders, ("true", "false"), strict=True):
        config.write_text(f"{CONFIG}optimize_demos = {demos}\n", encoding="utf-8")
        run_command("optimize", config, "--yes", "--results", folder, env=environment(tmp_path, model), code=0)
    return folders


def test_two_jobs_are_compared_by_id_and_by_folder_alike(tmp_path, jobs):
    ids = [json.loads((folder / "job_metadata.json").read_bytes())["job_id"] for folder in jobs]
    by_id, by_folder = (
        json.loads(call(tmp_path, *pair, "--json", "--results", tmp_path / "c").stdout) for pair in (ids, jobs)
    )
    assert by_id["unpaired"] is None
    assert by_id["pairs"][0]["n"] == 20
    assert by_id["pairs"][0]["difference"] == by_folder["pairs"][0]["difference"]
    shown = call(tmp_path, *ids)
    assert shown.returncode == 0
    assert f"{ids[0]}" in shown.stdout
    assert (tmp_path / "comparison" / "compare.html").is_file()


def test_unknown_unfinished_and_mistaken_jobs_are_refused(tmp_path, model, config):
    unknown = call(tmp_path, "pl_0123456789abcdef", "pl_0123456789abcdee")
    assert (unknown.returncode, "There is no job pl_0123456789abcdef" in unknown.stderr) == (2, True)
    neither = call(tmp_path, config, config)
    assert (neither.returncode, "neither a job nor a folder" in neither.stderr) == (2, True)
    empty = call(tmp_path, tmp_path, tmp_path)
    assert (empty.returncode, "no best_prompt.json" in empty.stderr) == (2, True)
    three = call(tmp_path, "a", "b", "c")
    assert (three.returncode, "3 things" in three.stderr) == (2, True)
    options = call(tmp_path, "a", "b", "--methods", "mipro")
    assert (options.returncode, "belong to a comparison of methods" in options.stderr) == (2, True)
    model.answer = lambda body: Scripted.error(500)
    run_command("optimize", config, "--yes", env=environment(tmp_path, model), code=7)
    listed = subprocess.run(
        [sys.executable, "-c", LIST_JOBS, str(tmp_path / "home")], capture_output=True, text=True, check=True
    )
    job_id = listed.stdout.strip()
    unfinished = call(tmp_path, job_id, job_id)
    assert unfinished.returncode == 2
    assert f"Job {job_id} is paused and has no results" in unfinished.stderr


LIST_JOBS = """
import sqlite3, sys
print(sqlite3.connect(sys.argv[1] + "/ledger.sqlite3").execute("SELECT job_id FROM jobs").fetchone()[0])
"""


# ---- the screen


def document(*runs, missing=()):
    return methods_document(SETTING, [METHODS[n] for n in ("mipro", "random", "baseline")], runs, missing)


def shown(found, width=200, terminal=False, encoding="utf-8"):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="strict", write_through=True)
    render(found, Console(file=file, width=width, force_terminal=terminal, color_system=None, markup=False))
    return raw.getvalue().decode(encoding)


def test_a_pipe_gets_each_row_on_one_line():
    text = shown(document(make_run(), make_run("random")), width=80)
    assert any(line.startswith("MIPRO ") and line.endswith("$0.0320") for line in text.splitlines())


def test_a_narrow_terminal_gets_blocks_that_fit():
    text = shown(document(make_run(), make_run("random")), width=60, terminal=True)
    assert all(len(line) <= 60 for line in text.splitlines())
    assert "score on test, %: 75.0" in text


def test_everything_can_be_said_in_ascii():
    found = document(make_run(), make_run(rng_seed=1), make_run("random"))
    assert "Half of the way up" in shown(found, encoding="ascii")


def test_foreign_text_cannot_act_on_the_terminal():
    missing = [MissingRun("random", 0, "it said \x1b[31mred\u202e", failed=True)]
    text = shown(document(make_run(), missing=missing))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "no run" in text


def test_a_method_that_failed_in_one_seed_says_how_many_runs_stand():
    runs = [make_run(), make_run(rng_seed=2)]
    text = shown(document(*runs, missing=[MissingRun("mipro", 1, "away", failed=True)]))
    assert "MIPRO (2 of 3 runs)" in text


def test_what_cannot_be_paired_is_said_first():
    unpaired = {**document(make_run()), "unpaired": "they were tested on different rows (10 and 20)", "pairs": []}
    (sentence,) = verdicts_in_words(unpaired)
    assert sentence.startswith("Not paired: they were tested on different rows")
    assert "not decided" in sentence


# ---- the live line


def test_the_line_tells_run_phase_rollouts_and_reuse():
    watch = CompareWatch(Console(file=io.StringIO(), width=100), {"mipro": "MIPRO"}, is_moving=False)
    assert "Preparing" in watch.line().plain
    watch.started("mipro:1", 2, 9, 140)
    watch.event(Event("mipro.phase", "", {"phase": 2, "name": "TPE Optimization"}))
    for made in (True, False, False):
        watch.outcome(Outcome(1.0), made)
    watch.outcome(Outcome(None, None, "away"), True)
    line = watch.line().plain
    assert line.startswith("[2/9] MIPRO, rng seed 1:")
    assert "TPE Optimization, 4/140 rollouts, 2 reused, 1 unknown" in line


def test_a_silent_run_says_every_five_seconds_that_it_lives(monkeypatch):
    console = Console(file=io.StringIO(), width=100)
    watch = CompareWatch(console, {"mipro": "MIPRO"}, is_moving=False)
    watch.started("mipro:0", 1, 1, 140)
    before = console.file.getvalue()
    watch.tick()
    assert console.file.getvalue() == before
    monkeypatch.setattr("mipro_walk.cli.compare_live.HEARTBEAT_SECONDS", 0.0)
    watch.tick()
    assert "0/140 rollouts" in console.file.getvalue()


def test_an_error_of_the_comparison_reaches_the_command():
    watch = CompareWatch(Console(file=io.StringIO()), {}, is_moving=False)

    def fail() -> None:
        raise ConfigError("no rows")

    with pytest.raises(ConfigError, match="no rows"):
        watch_to_the_end(fail, watch, threading.Event())
