"""Group commit: each write is durable when it returns, and one that cannot be stored harms no other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from mipro_walk.ledger import Ledger
from mipro_walk.types import Event
from tests.ledger.recorded_runs import new_job


@pytest.fixture
def job_id(ledger) -> str:
    return new_job(ledger)


def written_together(ledger: Ledger, job_id: str, identities: list[str]) -> tuple[list[BaseException | None], int]:
    """Record all while the writer is busy; return what each raised and how many transactions they took."""
    commits: list[object] = []
    came = threading.Semaphore(0)

    def record(identity: str) -> None:
        came.release()
        ledger.record(job_id, "rollout", identity, {"score": 1.0})

    with ThreadPoolExecutor(len(identities)) as pool:
        with ledger._commits.alone() as connection:
            event.listen(ledger._engine, "commit", commits.append)
            futures = [pool.submit(record, identity) for identity in identities]
            for _ in identities:
                came.acquire()
            while len(ledger._commits._waiting) < len(identities):
                pass  # the last steps into the queue take microseconds
            assert connection.in_transaction()
        raised = [future.exception() for future in futures]
    return raised, len(commits) - 1  # without the transaction that kept the writer busy


def test_writes_that_wait_at_the_same_moment_share_transactions(ledger, job_id):
    names = [f"row {number}" for number in range(8)]
    raised, commits = written_together(ledger, job_id, names)
    assert raised == [None] * 8
    assert commits == 1
    assert ledger.recordings(job_id, "rollout").keys() == set(names)


def test_a_write_that_cannot_be_stored_fails_alone(ledger, job_id):
    ledger.record(job_id, "rollout", "there", {"score": 0.0})
    raised, _ = written_together(ledger, job_id, ["new", "there", "other"])
    assert [type(error) for error in raised] == [type(None), IntegrityError, type(None)]
    assert ledger.recordings(job_id, "rollout")["there"] == {"score": 0.0}
    assert ledger.recordings(job_id, "rollout").keys() == {"new", "there", "other"}


def test_a_write_is_durable_when_it_returns(ledger, job_id):
    ledger.record(job_id, "rollout", "row", {"score": 1.0})
    other = Ledger(ledger.url)
    assert other.recordings(job_id, "rollout") == {"row": {"score": 1.0}}
    other.close()


def test_recordings_of_one_batch_are_stored_together_or_not_at_all(ledger, job_id):
    ledger.record(job_id, "rollout", "there", {"score": 0.0})
    with pytest.raises(IntegrityError):
        ledger.record_all(job_id, "rollout", {"new": {"score": 1.0}, "there": {"score": 1.0}})
    assert ledger.recordings(job_id, "rollout").keys() == {"there"}
    ledger.record_all(job_id, "rollout", {})
    assert ledger.recordings(job_id, "rollout").keys() == {"there"}


def test_events_of_several_threads_get_numbers_without_gaps(ledger, job_id):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ledger.add_event(job_id, Event("mipro.test", str(number))), range(40)))
    assert [e["seq"] for e in ledger.events(job_id)] == list(range(1, 41))
