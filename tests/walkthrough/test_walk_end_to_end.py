"""All six steps by the real program, against a scripted model: results, consent, thresholds, Ctrl-C, resume, leaks."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mipro_walk.results import DOCUMENT_NAMES, REPORT
from tests.cli.terminal import Terminal, clean_environment, run_command
from tests.fakes.openai_server import Scripted, ScriptedOpenAI, keyword_answer

KEY = "sk-canary-0123456789abcdef0123456789abcdef"
RESULT_FILES = {*DOCUMENT_NAMES, REPORT}
PROMPT = "quit   ›"


class Walk:
    """A work folder, a data folder, and a model endpoint on this machine."""

    def __init__(self, folder: Path, server: ScriptedOpenAI) -> None:
        self.folder, self.server = folder, server
        self.workdir, self.home = folder / "work", folder / "home"
        self.terminals: list[Terminal] = []

    @property
    def environment(self) -> dict[str, str]:
        small = {"NUM_ITERATIONS": "3", "BUDGET": "40", "TEST_SIZE": "12", "WORKDIR": str(self.workdir)}
        return clean_environment(
            self.home,
            OPENAI_API_KEY=KEY,
            OPENAI_BASE_URL=self.server.base_url,
            MIPRO_WALK_TASK_APP_PORT="0",
            **{f"MIPRO_WALK_{name}": value for name, value in small.items()},
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_command(*arguments, env=self.environment, seconds=120)

    def start(self, *arguments: str) -> Terminal:
        terminal = Terminal([*arguments], self.environment)
        self.terminals.append(terminal)
        return terminal

    def files(self) -> Iterator[Path]:
        for root in (self.workdir, self.home):
            yield from (path for path in root.rglob("*") if path.is_file())


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    with ScriptedOpenAI(answer=keyword_answer, key=KEY) as server:
        walk = Walk(tmp_path, server)
        yield walk
        for terminal in walk.terminals:
            terminal.child.close(force=True)


def test_without_a_terminal_the_six_steps_run_and_leave_what_the_readme_says(walk: Walk) -> None:
    done = walk.run("run", "--json", "--yes")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["schema_version"] == 1
    assert answer["status"] == "succeeded"
    assert answer["scores"]["test"]["n"] == 12
    assert {path.name for path in (walk.workdir / "results").iterdir()} == RESULT_FILES
    assert all(f"Step {n} of 6" in done.stderr for n in range(1, 7))
    assert str(walk.workdir / "results" / REPORT) in done.stderr
    for name in ("env_key.txt", "mipro_config.toml", "task_app.log", "state.json"):
        assert stat.S_IMODE((walk.workdir / name).stat().st_mode) == 0o600
    assert list((walk.home / "run").glob("*.json")) == [], "no server is left"


def test_no_key_is_in_any_file_output_or_prompt(walk: Walk) -> None:
    done = walk.run("--debug", "run", "--yes")
    assert done.returncode == 0, done.stderr
    task_app_key = (walk.workdir / "env_key.txt").read_text().strip()
    backend_key = (walk.home / "backend_key.txt").read_text().strip()
    kept_in = {task_app_key: "env_key.txt", backend_key: "backend_key.txt", KEY: "nowhere"}
    for secret, where in kept_in.items():
        assert secret not in done.stdout + done.stderr
        for path in walk.files():
            if path.name != where:
                assert secret.encode() not in path.read_bytes(), path
        assert all(secret not in json.dumps(request.body) for request in walk.server.requests)


def test_money_is_not_spent_without_consent(walk: Walk) -> None:
    done = walk.run("run")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert "--max-cost-usd" in done.stderr
    assert walk.server.requests == []


def test_a_dry_run_asks_no_model_and_makes_no_job(walk: Walk) -> None:
    done = walk.run("run", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)["steps"]
    assert steps["Configuration"]["plan"]["budget"] == 40
    assert steps["Configuration"]["forecast"]["cost_usd"]["expected"] > 0
    assert walk.server.requests == []
    assert not (walk.home / "ledger.sqlite3").exists()


def test_a_score_below_the_threshold_ends_with_6_and_keeps_the_results(walk: Walk) -> None:
    done = walk.run("run", "--yes", "--fail-under", "1.0")
    assert done.returncode == 6, done.stderr
    assert {path.name for path in (walk.workdir / "results").iterdir()} == RESULT_FILES


def test_a_refused_key_stops_at_once_and_can_be_resumed(walk: Walk) -> None:
    walk.server.answer = lambda _body: Scripted.error(401, "invalid_api_key", "Incorrect API key provided.")
    done = walk.run("run", "--yes")
    assert done.returncode == 7, done.stderr
    assert "the key was refused" in done.stderr
    assert "mipro-walk resume pl_" in done.stderr
    assert len(walk.server.requests) <= 8, "once for each call in flight, not for every rollout"
    assert "Traceback" not in done.stderr


def test_a_person_gets_to_the_results_with_six_enters(walk: Walk) -> None:
    terminal = walk.start("run")
    for step in range(1, 7):
        terminal.wait_for(f"Step {step} of 6", 60.0)
        terminal.wait_for(PROMPT)
        if step == 5:
            assert "spends money" in terminal.text
        terminal.answer("")
    assert terminal.end() == 0
    assert "Files in" in terminal.text
    assert "best_prompt.json" in terminal.text
    assert json.loads((walk.workdir / "state.json").read_text())["completed"] == [1, 2, 3, 4, 5, 6]


def test_after_ctrl_c_the_next_start_goes_on_with_the_same_job(walk: Walk) -> None:
    walk.server.answer = lambda body: Scripted(keyword_answer(body), delay_seconds=0.4)
    terminal = walk.start("run", "--from-step", "4")
    for step in (4, 5):
        terminal.wait_for(f"Step {step} of 6", 60.0)
        terminal.wait_for(PROMPT)
        terminal.answer("")
    terminal.wait_for("Phase 1", 60.0)
    terminal.child.sendintr()
    assert terminal.end(40.0) == 130
    job_id = json.loads((walk.workdir / "state.json").read_text())["job_id"]
    assert list((walk.home / "run").glob("*.json")) == []

    walk.server.answer = keyword_answer
    again = walk.start("run", "--from-step", "5")
    again.wait_for("Step 5 of 6")
    again.wait_for(PROMPT)
    again.answer("")
    again.wait_for(f"Job {job_id} of an earlier start is paused")
    again.wait_for("new job")
    again.answer("")
    again.wait_for(f"Job {job_id} ended: succeeded", 60.0)
    again.wait_for("Step 6 of 6")
    again.wait_for(PROMPT)
    again.answer("q")
    assert again.end() == 7


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_killing_the_program_in_the_middle_of_a_job_leaves_no_server(walk: Walk) -> None:
    walk.server.answer = lambda body: Scripted(keyword_answer(body), delay_seconds=0.4)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mipro_walk", "run", "--yes", "--display", "plain"],
        env=walk.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            if "Phase 1" in line:
                break
        pids = [json.loads(path.read_text())["pid"] for path in (walk.home / "run").glob("*.json")]
        assert len(pids) == 2, "task app and backend"
        process.kill()
        process.wait()
    wait_until_gone(pids)


def wait_until_gone(pids: list[int], seconds: float = 8.0) -> None:
    import time

    import psutil

    deadline = time.monotonic() + seconds
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        assert time.monotonic() < deadline, "a server still runs"
        time.sleep(0.05)


def test_the_same_six_steps_run_gepa_and_speak_of_it(walk: Walk) -> None:
    done = walk.run("run", "--json", "--yes", "--algorithm", "gepa")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"]["test"]["n"] == 12
    history = json.loads((walk.workdir / "results" / "score_history.json").read_text())
    assert history["algorithm"] == "gepa"
    for part in ('algorithm = "gepa"', "steps: 2 x 3 train rows", "Then it evolves (GEPA)", "Phase 2: Reflective"):
        assert part in " ".join(done.stderr.split())
    for word in ("TPE", "ootstrap complete", "demo set", "Rung"):
        assert word not in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "found"),
    [("--algorithm", "gepa", "says mipro"), ("--rng-seed", "7", "says 0"), ("--num-intents", "5", "says not set")],
)
def test_a_configuration_that_says_otherwise_is_neither_used_nor_replaced_unasked(
    walk: Walk, option: str, value: str, found: str
) -> None:
    assert walk.run("run", "--dry-run").returncode == 0
    before = (walk.workdir / "mipro_config.toml").read_bytes()
    done = walk.run("run", "--dry-run", option, value)
    said = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert f"{option} {value} was asked for" in said
    assert found in said
    assert (walk.workdir / "mipro_config.toml").read_bytes() == before
    assert walk.run("run", "--dry-run", option, value, "--overwrite-config").returncode == 0
    again = walk.run("run", "--dry-run", option, value, "--profile", "walkthrough")
    assert again.returncode == 0  # the same again is no contradiction
    assert "--profile walkthrough is not used" in " ".join(again.stderr.split())


def test_a_misspelt_algorithm_is_refused(walk: Walk) -> None:
    done = walk.run("run", "--algorithm", "gpea")
    assert done.returncode == 2
    assert "Choose one of mipro, gepa" in done.stderr
