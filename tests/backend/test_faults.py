"""Faults of the model endpoint, drawn from a seed: they cost time, and never a row or another prompt."""

from __future__ import annotations

import pytest

from mipro_walk.results import DOCUMENT_NAMES, JOB_METADATA
from mipro_walk.results.files import encode
from tests.backend.conftest import scripted_answer, wait_for
from tests.fakes.openai_server import FAULTS, Scripted

SAME_BYTES = tuple(name for name in DOCUMENT_NAMES if name != JOB_METADATA)
QUICK = {"call_timeout_seconds": 5.0}


def finish(client, document):
    job_id = client.submit(document)
    status = wait_for(client, job_id, "succeeded", "failed", "paused", seconds=120)
    assert status["status"] == "succeeded", status["error"]
    return {name: encode(document) for name, document in client.results(job_id).items() if name in SAME_BYTES}


@pytest.fixture
def clean(stage):
    """The backend's client and what a run without faults writes."""
    client = stage.start_backend()
    documents = finish(client, stage.document(**QUICK))
    stage.clean_calls = len(stage.model.requests)
    stage.model.requests.clear()
    return client, documents


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_calls_that_fail_by_chance_change_no_byte_of_the_documents(stage, clean, share):
    client, expected = clean
    stage.model.fail(share, seed=7)
    assert finish(client, stage.document(**QUICK)) == expected
    assert len(stage.model.requests) > stage.clean_calls * (1 + share / 2)


# Where no retries are wanted a refusal for load is not waited out: that stands for an outage longer than the patience.
@pytest.mark.parametrize(
    ("fault", "retries"),
    [(Scripted.error(500), 1), (FAULTS[-1], 1), (Scripted.rate_limited(None), 0)],
    ids=["500", "dropped", "429"],
)
def test_endpoint_that_only_fails_pauses_the_job_and_a_resume_gives_the_clean_bytes(stage, clean, fault, retries):
    client, expected = clean
    half = stage.clean_calls // 2

    def dies_halfway(body):
        return scripted_answer(body) if len(stage.model.requests) <= half else fault

    stage.model.answer = dies_halfway
    job_id = client.submit(stage.document(**QUICK, max_retries=retries))
    status = wait_for(client, job_id, "paused", "failed", "succeeded", seconds=120)
    assert status["status"] == "paused", status
    # Eight failures in a row, and twice the twelve rollouts that are open: no storm against what is down.
    assert len(stage.model.requests) <= half + (8 + 2 * 12) * (1 + retries)
    stage.model.answer = scripted_answer
    client.resume(job_id)
    assert wait_for(client, job_id, "succeeded", "failed", "paused")["status"] == "succeeded"
    documents = client.results(job_id)
    assert {name: encode(documents[name]) for name in SAME_BYTES} == expected
