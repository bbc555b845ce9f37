"""``mipro-walk report``: which job, where the page goes, when a browser opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mipro_walk.cli import browser, job_session, report_command
from mipro_walk.cli.main import app
from mipro_walk.errors import ConfigError, IncompleteError, MiproWalkError, PrerequisiteError
from mipro_walk.results import REPORT, write_documents
from tests.cli.scripted_backend import JOB_ID, ScriptedBackend, documents, status

DONE = status("succeeded", stop_reason="done")


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedBackend:
    made = ScriptedBackend([([], DONE)])
    made.documents = documents()
    monkeypatch.chdir(tmp_path)
    for name in ("CI", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)

    class Opened:
        def __enter__(self) -> Any:
            return job_session.JobBackend(made, True, None)  # type: ignore[arg-type]

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(report_command, "open_backend", lambda *_, **__: Opened())
    return made


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", *arguments])


def test_the_last_finished_job_is_reported_and_the_path_is_all_of_stdout(
    backend: ScriptedBackend, tmp_path: Path
) -> None:
    backend.found_jobs = [{"job_id": "pl_x", "status": "paused"}, {"job_id": JOB_ID, "status": "succeeded"}]
    found = invoke()
    assert found.exit_code == 0, found.exception
    path = tmp_path / f"report-{JOB_ID}.html"
    assert found.stdout == f"{path}\n"
    assert "Better: +43 points" in path.read_text(encoding="utf-8")


def test_it_goes_beside_the_files_of_the_same_job(backend: ScriptedBackend, tmp_path: Path) -> None:
    write_documents(tmp_path / "kept", documents())
    backend.script = [([], {**DONE, "launch": {"results_folder": str(tmp_path / "kept")}})]
    assert invoke(JOB_ID).stdout.strip() == str(tmp_path / "kept" / REPORT)


def test_it_does_not_go_beside_the_files_of_a_later_job(backend: ScriptedBackend, tmp_path: Path) -> None:
    later = documents()
    later["job_metadata.json"]["job_id"] = "pl_later"
    write_documents(tmp_path / "kept", later)
    backend.script = [([], {**DONE, "launch": {"results_folder": str(tmp_path / "kept")}})]
    assert invoke(JOB_ID).stdout.strip() == str(tmp_path / f"report-{JOB_ID}.html")


def test_a_folder_of_result_files_needs_no_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_command, "open_backend", lambda *_: pytest.fail("a backend was opened"))
    write_documents(tmp_path / "r", documents("worse"))
    assert invoke(str(tmp_path / "r")).stdout.strip() == str(tmp_path / "r" / REPORT)
    assert invoke(str(tmp_path / "r" / REPORT)).exit_code == 0


def test_a_project_stands_for_the_results_below_it(tmp_path: Path) -> None:
    write_documents(tmp_path / "task" / "results", documents("worse"))
    assert invoke(str(tmp_path / "task")).stdout.strip() == str(tmp_path / "task" / "results" / REPORT)
    write_documents(tmp_path / "task", documents())
    assert invoke(str(tmp_path / "task")).stdout.strip() == str(tmp_path / "task" / REPORT)


def test_output_names_a_file_or_a_folder(backend: ScriptedBackend, tmp_path: Path) -> None:
    assert invoke(JOB_ID, "--output", "page.html").stdout.strip() == str(tmp_path / "page.html")
    (tmp_path / "folder").mkdir()
    assert invoke(JOB_ID, "-o", "folder").stdout.strip() == str(tmp_path / "folder" / REPORT)


def test_an_output_that_cannot_be_written_is_an_error(backend: ScriptedBackend, tmp_path: Path) -> None:
    assert isinstance(invoke(JOB_ID, "--output", "no/such/page.html").exception, ConfigError)
    (tmp_path / "taken" / REPORT).mkdir(parents=True)
    found = invoke(JOB_ID, "--output", "taken")
    assert isinstance(found.exception, PrerequisiteError)
    assert found.stdout == ""


@pytest.mark.parametrize("state", ["queued", "running", "paused", "failed"])
def test_a_job_that_can_go_on_has_no_report_yet(backend: ScriptedBackend, tmp_path: Path, state: str) -> None:
    backend.script = [([], status(state))]
    found = invoke(JOB_ID)
    assert isinstance(found.exception, IncompleteError)
    assert f"Job {JOB_ID} is {state}" in found.exception.message
    assert JOB_ID in found.exception.fix
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_ended_without_results_is_said(backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise MiproWalkError("409")

    backend.script = [([], status("cancelled"))]
    monkeypatch.setattr(backend, "results", refuse)
    found = invoke(JOB_ID)
    assert isinstance(found.exception, MiproWalkError)
    assert "ended as cancelled without results" in found.exception.message


def test_no_finished_job_is_said(backend: ScriptedBackend) -> None:
    backend.found_jobs = [{"job_id": JOB_ID, "status": "running"}]
    assert isinstance(invoke().exception, ConfigError)


def test_documents_that_are_damaged_leave_no_page(tmp_path: Path) -> None:
    write_documents(tmp_path, {"best_prompt.json": {"kind": "mipro_walk.best_prompt", "schema_version": 1}})
    assert isinstance(invoke(str(tmp_path)).exception, ConfigError)
    assert not (tmp_path / REPORT).exists()


def test_open_starts_the_browser_of_the_user(
    backend: ScriptedBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setenv("BROWSER", "something")
    monkeypatch.setattr(browser.webbrowser, "open", lambda address: opened.append(address) or True)
    found = invoke(JOB_ID, "--open")
    assert opened == [Path(found.stdout.strip()).as_uri()]
    assert found.stderr == ""


@pytest.mark.parametrize("variable", ["CI", "SSH_CONNECTION", "SSH_TTY"])
def test_nothing_opens_in_ci_or_over_ssh_but_the_path_is_printed(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "true")
    monkeypatch.setenv("BROWSER", "something")
    monkeypatch.setattr(browser.webbrowser, "open", lambda _: pytest.fail("a browser was opened"))
    found = invoke(JOB_ID, "--open")
    assert (found.exit_code, Path(found.stdout.strip()).is_file()) == (0, True)
    assert "Not opened" in found.stderr


def test_the_report_equals_the_one_of_the_run(backend: ScriptedBackend, tmp_path: Path) -> None:
    from mipro_walk.report.files import write_results

    write_results(tmp_path / "kept", documents())
    first = (tmp_path / "kept" / REPORT).read_bytes()
    invoke(JOB_ID, "--output", "again.html")
    assert (tmp_path / "again.html").read_bytes() == first
    assert REPORT in json.loads((tmp_path / "kept" / "job_metadata.json").read_text())["files"]
