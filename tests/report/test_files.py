"""What a job leaves in its folder: the JSON documents in any case, and the report if it can be made."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from mipro_walk.report import files
from mipro_walk.report.files import write_report, write_results
from mipro_walk.report.page import render_report
from mipro_walk.results import BEST_PROMPT, DOCUMENT_NAMES, JOB_METADATA, REPORT
from tests.report.runs import finished_run


def test_the_report_lies_beside_the_documents_with_its_checksum(tmp_path):
    run = finished_run()
    written = write_results(tmp_path, run)
    assert {path.name for path in written.files} == {*DOCUMENT_NAMES, REPORT}
    assert not written.problem
    page = (tmp_path / REPORT).read_bytes()
    assert page == render_report(run).encode()
    if os.name == "posix":
        assert (tmp_path / REPORT).stat().st_mode & 0o777 == 0o600
    checksums = json.loads((tmp_path / JOB_METADATA).read_bytes())["files"]
    for name, expected in checksums.items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == expected
    assert set(checksums) == {*DOCUMENT_NAMES, REPORT} - {JOB_METADATA}


def test_the_files_alone_give_the_same_report(tmp_path):
    write_results(tmp_path, finished_run())
    read = {name: json.loads((tmp_path / name).read_bytes()) for name in DOCUMENT_NAMES}
    write_report(tmp_path / "again.html", read)
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / REPORT).read_bytes()


@pytest.mark.parametrize("failure", [OSError("no space"), RuntimeError("a defect"), ImportError("no vl_convert")])
def test_a_report_that_cannot_be_made_leaves_the_documents(tmp_path, monkeypatch, failure):
    def broken(documents):
        raise failure

    monkeypatch.setattr(files, "render_report", broken)
    written = write_results(tmp_path, finished_run())
    assert str(failure) in written.problem
    assert {path.name for path in written.files} == set(DOCUMENT_NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(DOCUMENT_NAMES)


def test_a_report_that_cannot_be_written_leaves_the_documents(tmp_path):
    (tmp_path / REPORT).mkdir()
    written = write_results(tmp_path, finished_run())
    assert "Cannot write" in written.problem
    assert (tmp_path / BEST_PROMPT).is_file()
    assert REPORT not in json.loads((tmp_path / JOB_METADATA).read_bytes())["files"]
