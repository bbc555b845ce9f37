"""The job commands, run through Typer against a scripted backend."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from mipro_walk.cli import job_session, jobs_command, results_command, train_command
from mipro_walk.errors import ConfigError, ScoreBelowThresholdError
from mipro_walk.ledger import Ledger
from mipro_walk.results import DOCUMENT_NAMES, write_documents
from tests.cli.scripted_backend import JOB_ID, ScriptedBackend, documents, event, status

CONFIG = """
[prompt_learning]
algorithm = "mipro"
task_app_url = "http://127.0.0.1:8002"
[prompt_learning.policy]
provider = "local"
model = "smollm2-135m-instruct"
"""


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScriptedBackend:
    script = ScriptedBackend(
        [([event(1, "mipro.phase", "Phase 1: Bootstrap")], status("succeeded", stop_reason="done"))]
    )
    script.documents = documents()
    script.register_environment_key = lambda key: True  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def opened(url: str | None = None, *, outlives_us: bool = False) -> Iterator[Any]:
        yield SimpleNamespace(client=script, is_ours=True, services=None)

    for module in (train_command, results_command, jobs_command):
        monkeypatch.setattr(module, "open_backend", opened)
    monkeypatch.setattr(train_command, "require_task_app", lambda url, key: None)
    monkeypatch.setattr(train_command, "ensure_task_app", lambda services, launch, url: None)
    monkeypatch.setenv("MIPRO_WALK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "mipro_config.toml").write_text(CONFIG)
    return script


def invoke(*arguments: str) -> Result:
    app = typer.Typer()
    for name, function in (
        ("train", train_command.train),
        ("resume", train_command.resume),
        ("results", results_command.results),
        ("jobs", jobs_command.jobs),
        ("cancel", jobs_command.cancel),
    ):
        app.command(name)(function)
    return CliRunner().invoke(app, list(arguments))


def test_train_shows_progress_on_stderr_and_results_on_stdout(backend: ScriptedBackend, tmp_path: Path) -> None:
    found = invoke("train", str(tmp_path / "mipro_config.toml"))
    assert found.exit_code == 0, found.exception
    assert "Phase 1: Bootstrap" in found.stderr
    assert "Better: 0.12" in found.stdout
    assert (tmp_path / "results" / "best_prompt.json").is_file()


def test_train_json_writes_one_object_and_nothing_else_to_stdout(backend: ScriptedBackend, tmp_path: Path) -> None:
    found = invoke("train", str(tmp_path / "mipro_config.toml"), "--json", "--results", str(tmp_path / "out"))
    assert json.loads(found.stdout)["verdict"] == "better"
    assert (tmp_path / "out" / "job_metadata.json").is_file()


def test_train_events_writes_only_events_to_stdout(backend: ScriptedBackend, tmp_path: Path) -> None:
    found = invoke("train", str(tmp_path / "mipro_config.toml"), "--events", "ndjson")
    assert [json.loads(line)["seq"] for line in found.stdout.splitlines()] == [1]
    assert "Better: 0.12" in found.stderr


def test_train_below_the_threshold_raises_after_the_results_are_kept(backend: ScriptedBackend, tmp_path: Path) -> None:
    found = invoke("train", str(tmp_path / "mipro_config.toml"), "--fail-under", "0.9")
    assert isinstance(found.exception, ScoreBelowThresholdError)
    assert (tmp_path / "results" / "best_prompt.json").is_file()


def test_train_without_waiting_prints_the_job_id(backend: ScriptedBackend, tmp_path: Path) -> None:
    found = invoke("train", str(tmp_path / "mipro_config.toml"), "--no-poll")
    assert found.stdout.strip() == JOB_ID
    assert f"mipro-walk resume {JOB_ID}" in found.stderr


def test_train_with_a_bad_config_submits_nothing(backend: ScriptedBackend, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[prompt_learning]\nalgorithm = 'gepas'\n")
    assert isinstance(invoke("train", str(tmp_path / "bad.toml")).exception, ConfigError)
    assert backend.submitted == []


def test_unknown_event_formats_and_displays_are_usage_errors(backend: ScriptedBackend, tmp_path: Path) -> None:
    path = str(tmp_path / "mipro_config.toml")
    assert isinstance(invoke("train", path, "--events", "xml").exception, ConfigError)
    assert isinstance(invoke("train", path, "--display", "xml").exception, ConfigError)


def test_resume_takes_the_last_unfinished_job_and_its_results_folder(backend: ScriptedBackend, tmp_path: Path) -> None:
    launch = {"results_folder": str(tmp_path / "kept")}
    done = status("succeeded", stop_reason="done")
    paused = status("paused", launch=launch)
    backend.script = [([], paused), ([], done), ([], done)]
    backend.found_jobs = [{"job_id": JOB_ID, "status": "paused"}]
    found = invoke("resume")
    assert found.exit_code == 0, found.exception
    assert "resume" in backend.asked
    assert (tmp_path / "kept" / "best_prompt.json").is_file()


@pytest.mark.parametrize(
    ("newest", "goes_on"),
    [("paused", False), ("running", False), ("failed", True), ("succeeded", True)],
)
def test_resume_passes_over_no_job_that_optimize_can_go_on_with(
    backend: ScriptedBackend, newest: str, goes_on: bool
) -> None:
    launch = {"in_process": True, "command": "mipro-walk optimize '/my task'"}
    backend.found_jobs = [{"job_id": "pl_newer", "status": newest, "launch": launch}, status("paused")]
    backend.script = [([], status("paused")), ([], status("succeeded", stop_reason="done"))]
    found = invoke("resume")
    assert ("resume" in backend.asked) is goes_on
    if not goes_on:
        assert isinstance(found.exception, ConfigError)
        assert "pl_newer" in found.exception.message
        assert found.exception.fix.endswith("Go on with: mipro-walk optimize '/my task'")


def test_results_of_the_work_folder_come_first(backend: ScriptedBackend, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    write_documents(tmp_path / "mipro_walkthrough" / "results", documents("worse"))
    assert "Worse: 0.55" in invoke("results").stdout


@pytest.mark.parametrize("newest", ["mipro_walkthrough", "gepa_walkthrough"])
def test_results_are_of_the_algorithm_that_ran_last_and_say_so(
    backend: ScriptedBackend, tmp_path: Path, monkeypatch: Any, newest: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("mipro_walkthrough", "gepa_walkthrough"):
        written = write_documents(tmp_path / name / "results", documents("worse" if name == newest else "better"))
        for path in written:
            os.utime(path, (1_000_000 + (name == newest),) * 2)
    found = invoke("results")
    assert "Worse: 0.55" in found.stdout
    assert str(tmp_path / newest / "results") in found.stderr
    assert "Results of job " in found.stderr
    assert "Results of job" not in invoke("results", str(tmp_path / newest / "results")).stderr  # it was named


def test_results_without_a_work_folder_are_the_last_finished_jobs(
    backend: ScriptedBackend, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nothing"))
    backend.found_jobs = [{"job_id": "pl_x", "status": "failed"}, {"job_id": JOB_ID, "status": "succeeded"}]
    assert "Better: 0.12" in invoke("results").stdout
    backend.found_jobs = []
    assert isinstance(invoke("results").exception, ConfigError)


def test_results_json_holds_every_document(backend: ScriptedBackend, tmp_path: Path) -> None:
    found = json.loads(invoke("results", JOB_ID, "--json").stdout)
    assert (found["verdict"], found["job_id"]) == ("better", JOB_ID)
    assert sorted(found["documents"]) == sorted(DOCUMENT_NAMES)


def test_results_that_were_changed_are_shown_with_a_warning(backend: ScriptedBackend, tmp_path: Path) -> None:
    write_documents(tmp_path / "r", documents())
    path = tmp_path / "r" / "best_prompt.json"
    path.write_text(path.read_text().replace("0.55", "0.99"))
    found = invoke("results", str(tmp_path / "r"), "--json")
    assert "best_prompt.json was changed" in found.stderr.replace("\n", "")
    json.loads(found.stdout)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"kind": "other"}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_results_file_is_named_without_a_traceback(
    backend: ScriptedBackend, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "best_prompt.json").write_bytes(content)
    found = invoke("results", str(tmp_path))
    assert isinstance(found.exception, ConfigError)
    assert "best_prompt.json" in found.exception.message


def test_jobs_are_listed_newest_first_with_whole_ids(backend: ScriptedBackend) -> None:
    backend.found_jobs = [status("running"), {**status("succeeded", best_score=0.55), "job_id": "pl_" + "f" * 60}]
    lines = invoke("jobs").stdout.splitlines()
    assert JOB_ID in lines[1]
    assert "pl_" + "f" * 60 in lines[2]
    assert "0.55" in lines[2]
    assert len(json.loads(invoke("jobs", "--json").stdout)["jobs"]) == 2


def test_no_jobs_is_said(backend: ScriptedBackend) -> None:
    assert "There are no jobs yet" in invoke("jobs").stderr
    assert json.loads(invoke("jobs", "--json").stdout)["jobs"] == []


def test_cancel_says_what_became_of_the_job(backend: ScriptedBackend) -> None:
    assert f"Job {JOB_ID} is cancelled." in invoke("cancel", JOB_ID).stderr
    assert json.loads(invoke("cancel", JOB_ID, "--json").stdout)["status"] == "cancelled"


def test_job_ids_complete_from_the_ledger_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIPRO_WALK_HOME", str(tmp_path))
    assert job_session.complete_job_id("") == []
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    ids = [ledger.create_job({}, algorithm="mipro", launch={}, request_hash=str(i)).job_id for i in range(3)]
    ledger.close()
    assert job_session.complete_job_id("pl_") == ids[::-1]
    assert job_session.complete_job_id(ids[0]) == [ids[0]]
