"""Which request stands for a prompt: the one that all its rows agree on, whatever the order in which they ended."""

from __future__ import annotations

import itertools

import pytest

from mipro_walk.ledger import RecordedRequests, recorded_requests
from tests.ledger.recorded_runs import new_job

ONE, OTHER = {"body": {"x": 1}}, {"body": {"x": 2}}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [([ONE, ONE], {"p": ONE}), ([ONE, OTHER], {}), ([ONE, None], {}), ([None, None], {}), ([ONE, OTHER, None], {})],
)
def test_request_is_what_all_rows_agree_on(ledger, seen, expected):
    for order in itertools.permutations(seen):
        job_id = new_job(ledger)
        requests = RecordedRequests(ledger, job_id)
        for template in order:
            requests.see("p", template)
        assert recorded_requests(ledger, job_id) == expected


def test_what_was_recorded_before_a_stop_counts_after_it(ledger):
    job_id = new_job(ledger)
    RecordedRequests(ledger, job_id).see("p", ONE)
    resumed = RecordedRequests(ledger, job_id)
    resumed.see("p", ONE)
    resumed.see("q", OTHER)
    assert recorded_requests(ledger, job_id) == {"p": ONE, "q": OTHER}
    resumed.see("p", OTHER)
    assert recorded_requests(ledger, job_id) == {"q": OTHER}


def test_no_more_is_recorded_than_is_needed(ledger):
    job_id = new_job(ledger)
    requests = RecordedRequests(ledger, job_id)
    for number in range(10):
        requests.see("p", {"body": {"x": number}})
    assert len(ledger.recordings(job_id, "request")) == 2
