"""The job queue by itself: what is said of a job at every moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mipro_walk.backend.jobs import JobRunner
from mipro_walk.backend.keys import KeyBox
from mipro_walk.backend.routes import JobApi, create_router
from mipro_walk.errors import ConfigError
from mipro_walk.ledger import Job, Ledger
from tests.cli.scripted_backend import documents

SECONDS = 10.0


class LedgerThatWaits(Ledger):
    """Lets somebody look at a job just before it is written how it ended."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.before_the_end = lambda _job_id: None

    def update_job(self, job_id: str, **values: Any) -> None:
        if "finished_at" in values:
            self.before_the_end(job_id)
        super().update_job(job_id, **values)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerThatWaits]:
    ledger = LedgerThatWaits(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    yield ledger
    ledger.close()


def new_job(ledger: Ledger) -> Job:
    return ledger.create_job({"prompt_learning": {}}, algorithm="mipro", launch={}, request_hash="x")


@pytest.mark.parametrize("failure", [None, RuntimeError("a mistake")], ids=["succeeded", "failed"])
def test_a_job_that_is_said_to_run_has_its_figures_until_the_end_is_said(
    ledger: LedgerThatWaits, tmp_path: Path, failure: Exception | None
) -> None:
    def execute(_job: Job, _wishes: Any, progress: Any) -> dict[str, Any]:
        progress.phase = "test"
        if failure is not None:
            raise failure
        return documents()

    runner = JobRunner(ledger, execute)
    api = JobApi(ledger, runner, KeyBox(tmp_path), threading.Event())
    seen: list[tuple[str, str]] = []
    has_looked = threading.Event()

    def look(job_id: str) -> None:
        found = api.status(api.find(job_id))
        seen.append((found["status"], found["progress"]["phase"]))
        has_looked.set()

    lookers: list[threading.Thread] = []

    def send_somebody(job_id: str) -> None:
        lookers.append(threading.Thread(target=look, args=(job_id,)))
        lookers[0].start()
        has_looked.wait(0.3)  # the answer may have to wait for the end

    ledger.before_the_end = send_somebody
    job = new_job(ledger)
    runner.start()
    runner.submit(job)
    deadline = time.monotonic() + SECONDS
    while not api.find(job.job_id).is_terminal:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    lookers[0].join(SECONDS)
    runner.stop()
    ended = ("succeeded", "done") if failure is None else ("failed", "failed")
    assert seen in ([("running", "test")], [ended])


def test_a_job_of_another_process_is_not_resumed_here(ledger: LedgerThatWaits, tmp_path: Path) -> None:
    runner = JobRunner(ledger, lambda _job, _wishes, _progress: documents())
    routes = create_router(JobApi(ledger, runner, KeyBox(tmp_path), threading.Event()), ledger, runner, "x").routes
    act = next(route.endpoint for route in routes if route.name == "act")
    job = ledger.create_job({"prompt_learning": {}}, algorithm="mipro", launch={"in_process": True}, request_hash="x")
    ledger.update_job(job.job_id, status="paused")
    with pytest.raises(ConfigError, match="mipro-walk optimize"):
        act(job.job_id, "resume")
    assert ledger.job(job.job_id).status == "paused"
    assert act(job.job_id, "cancel")["status"] == "cancelled"


def test_documents_that_cannot_be_read_end_the_job_and_not_the_queue(ledger: LedgerThatWaits) -> None:
    runner = JobRunner(ledger, lambda _job, _wishes, _progress: {} if not done else documents())
    done: list[str] = []
    runner.start()
    for status in ("failed", "succeeded"):
        job = new_job(ledger)
        runner.submit(job)
        deadline = time.monotonic() + SECONDS
        while not (found := ledger.job(job.job_id)).is_terminal:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert found.status == status
        done.append(status)
    runner.stop()


def test_a_wish_that_comes_as_the_job_ends_does_not_change_how_it_ended(ledger: LedgerThatWaits) -> None:
    wishing: list[threading.Thread] = []

    def wish(job_id: str) -> None:
        """Ask for everything at once while it is being written that the job succeeded."""
        if not wishing:
            wishing.extend(threading.Thread(target=act, args=(job_id,)) for act in (runner.cancel, runner.pause))
            for thread in wishing:
                thread.start()
            time.sleep(0.1)

    runner = JobRunner(ledger, lambda _job, _wishes, _progress: documents())
    ledger.before_the_end = wish
    job = new_job(ledger)
    runner.start()
    runner.submit(job)
    deadline = time.monotonic() + SECONDS
    while not ledger.job(job.job_id).is_terminal:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for thread in wishing:
        thread.join(SECONDS)
    runner.resume(job.job_id)
    runner.stop()
    assert ledger.job(job.job_id).status == "succeeded"


def test_a_queued_job_that_is_cancelled_never_runs_and_one_resumed_twice_runs_once(ledger: LedgerThatWaits) -> None:
    ran: list[str] = []

    def execute(job: Job, _wishes: Any, _progress: Any) -> dict[str, Any]:
        ran.append(job.job_id)
        return documents()

    runner = JobRunner(ledger, execute)
    cancelled, resumed = new_job(ledger), new_job(ledger)
    for job in (cancelled, resumed):
        runner.submit(job)
    runner.cancel(cancelled.job_id)
    runner.pause(resumed.job_id)
    for _ in range(2):
        runner.resume(resumed.job_id)
    runner.start()
    deadline = time.monotonic() + SECONDS
    while not ledger.job(resumed.job_id).is_terminal:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    runner.stop()
    assert ran == [resumed.job_id]
    assert ledger.job(cancelled.job_id).status == "cancelled"
