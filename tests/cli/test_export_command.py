"""``mipro-walk export``: where it reads, where it writes, and what it refuses."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import pytest

from mipro_walk.results import write_documents
from tests.cli.terminal import clean_environment
from tests.exports.conftest import run_job

CANARY = "sk-canary-0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return run_job(tmp_path_factory.mktemp("job"), "tool_calls")


@pytest.fixture
def export(job, tmp_path):
    """Return a function that runs the command on the job's ledger, in an empty folder and a temp folder of its own."""

    def run(*arguments: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[bytes]:
        environment = clean_environment(job.home, TMPDIR=str(tmp_path), **more)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "mipro_walk", "export", *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == code, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        return done

    return run


def test_export_goes_to_stdout_and_nothing_else_does(export, job):
    done = export(job.job_id, "--prompt", "winner")
    assert json.loads(done.stdout) == job.choose("winner").request().body
    assert done.stderr == b""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_bytes_do_not_depend_on_the_terminals_encoding(export, job, encoding):
    done = export(job.job_id, "--format", "markdown", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert done.stdout == export(job.job_id, "--format", "markdown").stdout


def test_file_is_private_and_is_not_replaced_unasked(export, job, tmp_path):
    path = tmp_path / "program.py"
    export(job.job_id, "--format", "python", "--output", str(path))
    first = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    refused = export(job.job_id, "--format", "text", "--output", str(path), code=2).stderr.decode()
    assert "exists" in refused
    assert "--force" in refused
    assert path.read_bytes() == first
    export(job.job_id, "--format", "text", "--output", str(path), "--force")
    assert path.read_bytes() != first
    assert os.listdir(tmp_path) == ["program.py"]


def test_link_is_neither_followed_nor_replaced_unasked(export, job, tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("mine")
    link.symlink_to(target)
    export(job.job_id, "--output", str(link), code=2)
    export(job.job_id, "--output", str(link), "--force")
    assert target.read_text() == "mine"
    assert not link.is_symlink()


@pytest.mark.parametrize("where", ["nowhere/file.json", "."])
def test_place_that_cannot_be_written_is_named(export, job, where):
    assert b"folder" in export(job.job_id, "--output", where, code=2).stderr


def test_folder_of_result_files_is_exported_with_what_the_ledger_knows(export, job, tmp_path):
    folder = tmp_path / "results"
    write_documents(folder, job.documents)
    assert export(str(folder), "--format", "rollouts").stdout == export(job.job_id, "--format", "rollouts").stdout
    assert export(str(folder / "best_prompt.json")).stdout == export(job.job_id).stdout


def test_results_of_another_machine_give_a_prompt_but_no_rollouts(export, job, tmp_path):
    folder, home = tmp_path / "results", tmp_path / "home"
    home.mkdir()
    write_documents(folder, job.documents)
    elsewhere = {"MIPRO_WALK_HOME": str(home)}
    assert export(str(folder), **elsewhere).stdout == export(job.job_id).stdout
    assert b"does not hold" in export(str(folder), "--format", "rollouts", code=2, **elsewhere).stderr
    assert not (home / "ledger.sqlite3").exists()


def test_file_that_was_changed_is_said_beside_the_export(export, job, tmp_path):
    folder = tmp_path / "results"
    write_documents(folder, job.documents)
    best = folder / "best_prompt.json"
    best.write_text(best.read_text(encoding="utf-8").replace("gpt-4o-mini", "another"), encoding="utf-8")
    done = export(str(folder), "--prompt", "baseline")
    assert b"was changed" in done.stderr
    assert json.loads(done.stdout)["model"] == "another"


def test_unknown_format_names_the_known_ones(export, job):
    assert b"promptfoo" in export(job.job_id, "--format", "yaml", code=2).stderr


def test_job_without_results_is_said(export, job, tmp_path):
    from mipro_walk.ledger import Ledger

    home = tmp_path / "home"
    home.mkdir()
    ledger = Ledger(f"sqlite:///{home / 'ledger.sqlite3'}")
    job_id = ledger.create_job({}, algorithm="mipro", launch={}, request_hash="h").job_id
    ledger.close()
    assert b"no results" in export(job_id, code=2, MIPRO_WALK_HOME=str(home)).stderr


@pytest.mark.parametrize(
    "name", ["openai", "python", "dspy", "langchain", "promptfoo", "markdown", "rollouts", "optuna"]
)
def test_no_export_holds_a_key(export, job, name):
    keys = {"OPENAI_API_KEY": CANARY, "MIPRO_WALK_API_KEY": CANARY, "ENVIRONMENT_API_KEY": CANARY}
    done = export(job.job_id, "--format", name, **keys)
    assert done.stdout
    scripted = b"sk-scripted"
    for secret in (CANARY.encode(), scripted, b"k" * 64, b"127.0.0.1"):
        assert secret not in done.stdout
