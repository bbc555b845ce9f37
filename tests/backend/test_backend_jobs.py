"""Jobs end to end: real backend process, real task app, scripted model."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter

import httpx
import pytest

from mipro_walk.clients.backend import BackendClient
from mipro_walk.errors import ConfigError, KeyMissingError
from mipro_walk.paths import backend_key, home
from mipro_walk.request_template import RequestTemplate
from mipro_walk.results import BEST_PROMPT, DOCUMENT_NAMES, JOB_METADATA, write_documents
from mipro_walk.results.files import encode
from tests.backend.conftest import scripted_answer, submit_and_kill, wait_for
from tests.fakes.openai_server import Scripted

OPEN_ROLLOUTS = 12
"""The walkthrough's eight calls at a time, and half as many that wait to be asked or to be recorded."""
SAME_BYTES = tuple(name for name in DOCUMENT_NAMES if name != JOB_METADATA)


def files(client: BackendClient, job_id: str) -> dict[str, bytes]:
    documents = client.results(job_id)
    return {name: encode(documents[name]) for name in SAME_BYTES}


def policy_questions(model) -> Counter:
    # A kill can cut a request off before its body is whole: that one was never a question.
    return Counter(json.dumps(body["messages"]) for body in model.bodies if "messages" in body)


def test_job_runs_to_a_verdict_and_writes_its_documents(stage, tmp_path):
    client = stage.start_backend()
    job_id = client.submit(stage.document())
    status = wait_for(client, job_id, "succeeded", "failed", "paused")
    assert status["status"] == "succeeded", status
    documents = client.results(job_id)
    assert documents[BEST_PROMPT]["score"]["n"] == 40
    assert documents[BEST_PROMPT]["messages"][-1] == {"role": "user", "content": "{query}"}
    assert documents["job_metadata.json"]["progress"]["rollouts_done"] <= 260
    assert (
        status["progress"]["usage"]["policy"]["calls"]
        == len(stage.model.bodies) - status["progress"]["usage"]["meta"]["calls"]
    )
    assert status["progress"]["usage"]["policy"]["cost_usd"] > 0  # gpt-4o-mini has a price
    rows = [row for name in ("fixed", "broken") for row in documents["explanations.json"][name]]
    assert rows
    sent = {request.raw for request in stage.model.requests}
    for choice in ("baseline", "winner"):
        request = RequestTemplate.from_dict(documents[BEST_PROMPT][choice]["request"])
        for row in rows:
            body = json.dumps(request.fill(row["query"]), ensure_ascii=False, separators=(",", ":"))
            assert body.encode() in sent
    paths = write_documents(tmp_path / "results", documents)
    assert {path.name for path in paths} == {*SAME_BYTES, "job_metadata.json"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in paths)


def test_cap_on_money_is_never_exceeded_and_the_final_test_is_always_paid(stage):
    def document(**limits):
        found = stage.document(num_iterations=20)
        found["prompt_learning"]["termination_config"] |= {"budget": 300, **limits}
        return found

    client = stage.start_backend()
    whole_id = client.submit(document())
    wait_for(client, whole_id, "succeeded")
    cost = sum(u["cost_usd"] for u in client.results(whole_id)[JOB_METADATA]["usage"].values())
    stopped = 0
    for cap in (cost * 2, cost * 1.2, cost * 1.05):
        job_id = client.submit(document(max_cost_usd=round(cap, 6)))
        status = wait_for(client, job_id, "succeeded", "failed")
        assert status["status"] == "succeeded", status
        documents = client.results(job_id)
        metadata = documents[JOB_METADATA]
        assert sum(u["cost_usd"] for u in metadata["usage"].values()) <= cap
        assert documents[BEST_PROMPT]["score"]["n"] == 40
        stopped += metadata["stop_reason"] == "cost cap"
    assert stopped > 0


def test_cap_that_cannot_pay_the_final_test_fails_before_the_first_call(stage):
    client = stage.start_backend()
    document = stage.document()
    document["prompt_learning"]["termination_config"]["max_cost_usd"] = 0.0001
    job_id = client.submit(document)
    status = wait_for(client, job_id, "succeeded", "failed")
    assert status["status"] == "failed"
    assert "may not pay the final test (80 calls)" in str(status)
    assert stage.model.bodies == []


def test_forecast_stands_beside_what_each_phase_took(stage):
    client = stage.start_backend()
    job_id = client.submit(stage.document())
    wait_for(client, job_id, "succeeded")
    metadata = client.results(job_id)[JOB_METADATA]
    expected = {phase["name"]: phase for phase in metadata["forecast"]["phases"]}
    actual = metadata["usage_by_phase"]
    assert list(actual) == list(expected)[: len(actual)]  # the ablation is left out when the baseline wins
    assert sum(phase["calls"] for phase in actual.values()) == sum(u["calls"] for u in metadata["usage"].values())
    assert actual["Final test"]["calls"] == expected["Final test"]["calls"] == 80


def test_events_tell_the_walkthrough_and_the_completing_one_is_last(stage):
    client = stage.start_backend()
    job_id = client.submit(stage.document())
    wait_for(client, job_id, "succeeded")
    events = client.events(job_id, 0, 10_000)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "prompt.learning.mipro.complete"
    messages = [event["message"] for event in events]
    assert any(m.startswith("  Iteration 10/10... score: ") for m in messages)
    assert {"prompt.learning.best.prompt", "prompt.learning.final.results"} <= {event["type"] for event in events}


@pytest.mark.parametrize("rng_seed", [0, 1])
def test_killed_again_and_again_and_resumed_gives_the_same_bytes_and_pays_nothing_twice(stage, rng_seed):
    client = stage.start_backend()
    undisturbed = client.submit(stage.document(rng_seed=rng_seed))
    wait_for(client, undisturbed, "succeeded")
    expected, calls = files(client, undisturbed), policy_questions(stage.model)
    stage.model.requests.clear()

    delays = random.Random(rng_seed)
    stage.model.answer = lambda body: Scripted(scripted_answer(body), delay_seconds=0.02)
    document = stage.document(rng_seed=rng_seed)
    client, job_id = submit_and_kill(stage, client, document, (delays.uniform(0.2, 1.0) for _ in range(5)))

    assert files(client, job_id) == expected
    repeated = policy_questions(stage.model) - calls
    assert sum(repeated.values()) <= 5 * OPEN_ROLLOUTS
    usage = client.status(job_id)["progress"]["usage"]["policy"]["calls"]
    assert usage <= sum(calls.values()) + 5 * OPEN_ROLLOUTS
    messages = [event["message"] for event in client.events(job_id, 0, 10_000)]
    assert messages.count("Phase 1: Bootstrap") == 1


def test_pause_saves_and_resume_goes_on_without_asking_again(stage):
    stage.model.answer = lambda body: Scripted(scripted_answer(body), delay_seconds=0.02)
    client = stage.start_backend()
    job_id = client.submit(stage.document())
    time.sleep(0.8)
    client.pause(job_id)
    assert wait_for(client, job_id, "paused", seconds=10)["error"] == "as asked"
    client.resume(job_id)
    wait_for(client, job_id, "succeeded")
    assert max(policy_questions(stage.model).values()) == 1


def test_terminated_backend_goes_on_by_itself_after_a_restart(stage):
    stage.model.answer = lambda body: Scripted(scripted_answer(body), delay_seconds=0.02)
    client = stage.start_backend()
    job_id = client.submit(stage.document())
    time.sleep(0.8)
    stage.backend.stop()
    client = stage.start_backend()
    wait_for(client, job_id, "succeeded")
    assert max(policy_questions(stage.model).values()) == 1


def test_dead_model_pauses_the_job_and_is_never_a_score(stage):
    client = stage.start_backend()
    stage.model.answer = lambda _body: Scripted.error(500)
    job_id = client.submit(stage.document(max_retries=1))
    status = wait_for(client, job_id, "paused", seconds=60)
    assert "failed without a score" in status["error"] or "cannot be asked" in status["error"]
    stage.model.answer = scripted_answer
    client.resume(job_id)
    wait_for(client, job_id, "succeeded")
    assert client.results(job_id)[BEST_PROMPT]["score"]["excluded"] == 0


def test_dead_task_app_pauses_the_job_and_a_new_one_on_the_same_port_lets_it_go_on(stage):
    stage.model.answer = lambda body: Scripted(scripted_answer(body), delay_seconds=0.02)
    client = stage.start_backend()
    job_id = client.submit(stage.document())
    time.sleep(0.8)
    os.kill(stage.task_app.pid, signal.SIGKILL)
    wait_for(client, job_id, "paused", seconds=60)
    stage.task_app.stop()
    stage.start_task_app(int(stage.task_app_url.rpartition(":")[2]))
    client.resume(job_id)
    wait_for(client, job_id, "succeeded")


def test_refused_provider_key_stops_the_job_once(stage):
    client = stage.start_backend(OPENAI_API_KEY="sk-wrong-0123456789")
    job_id = client.submit(stage.document())
    status = wait_for(client, job_id, "paused", "failed")
    assert len(stage.model.requests) <= 8
    assert "sk-wrong" not in json.dumps(status)


def test_cancel_ends_a_running_and_a_queued_job(stage):
    stage.model.answer = lambda body: Scripted(scripted_answer(body), delay_seconds=0.05)
    client = stage.start_backend()
    running, queued = client.submit(stage.document()), client.submit(stage.document())
    client.cancel(queued)
    assert client.status(queued)["status"] == "cancelled"
    time.sleep(0.8)
    client.cancel(running)
    wait_for(client, running, "cancelled", seconds=20)


def test_submit_that_cannot_run_is_answered_with_every_problem(stage):
    client = stage.start_backend()
    document = stage.document(num_iteratons=3, top_k=0)
    with pytest.raises(ConfigError) as caught:
        client.submit(document)
    assert any("num_iteratons" in p and "num_iterations" in p for p in caught.value.problems)
    assert any("top_k" in p for p in caught.value.problems)


def test_same_idempotency_key_gives_one_job_and_another_body_is_refused(stage):
    client = stage.start_backend()
    document = stage.document()
    assert client.submit(document, idempotency_key="k") == client.submit(document, idempotency_key="k")
    with pytest.raises(ConfigError, match="another body"):
        client.submit(stage.document(top_k=3), idempotency_key="k")
    assert len(client.jobs()) == 1


def test_stream_gives_the_same_events_and_ends_with_the_job(stage):
    client = stage.start_backend()
    job_id = client.submit(stage.document())
    headers = {"Authorization": f"Bearer {backend_key(home())}"}
    url = f"{stage.backend.url}/api/prompt-learning/online/jobs/{job_id}/events/stream"
    with httpx.stream("GET", url, headers=headers, timeout=60, trust_env=False) as response:
        lines = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: ")]
    assert lines == client.events(job_id, 0, 10_000)


@pytest.mark.parametrize("key", ["x", "wrong", "k" * 64, "schlüssel-" * 8])
def test_wrong_keys_are_refused_everywhere(stage, key):
    stage.start_backend()
    headers = {"Authorization": f"Bearer {key}".encode()}
    for method, path in (("GET", "/api/health"), ("POST", "/api/prompt-learning/online/jobs"), ("GET", "/nothing")):
        answer = httpx.request(method, stage.backend.url + path, headers=headers, trust_env=False)
        assert (answer.status_code, answer.json()["detail"]["error"]["code"]) == (401, "unauthorised")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_foreign_hosts_and_origins_are_refused_before_the_key_is_looked_at(stage, headers, status):
    stage.start_backend()
    with httpx.Client(trust_env=False) as client:
        request = client.build_request("GET", f"{stage.backend.url}/api/health", headers=headers)
        assert client.send(request).status_code == status


def test_large_bodies_are_refused_said_or_unsaid(stage):
    stage.start_backend()
    url = f"{stage.backend.url}/api/prompt-learning/online/jobs"
    headers = {"Authorization": f"Bearer {backend_key(home())}", "Content-Type": "application/json"}
    with httpx.Client(trust_env=False, headers=headers) as client:
        said = client.post(url, content=b" " * 1_200_000)
        unsaid = client.post(url, content=(b" " * 100_000 for _ in range(12)))
    assert [said.status_code, unsaid.status_code] == [413, 413]


def test_second_backend_on_the_same_data_folder_is_told_so(stage):
    from mipro_walk.errors import IncompleteError

    stage.start_backend()
    with pytest.raises(IncompleteError, match=f"pid {stage.backend.pid}|Another backend"):
        stage.start_backend()


def test_no_key_is_found_in_ledger_logs_or_requests(stage):
    client = stage.start_backend()
    job_id = client.submit(
        {"prompt_learning": {**stage.document()["prompt_learning"], "task_app_api_key": stage.task_app_key}}
    )
    wait_for(client, job_id, "succeeded")
    stage.backend.stop()
    secrets = [stage.model.key, stage.task_app_key]
    for path in stage.folder.rglob("*"):
        if path.is_file() and path.name != "backend_key.txt":
            data = path.read_bytes()
            assert not any(secret.encode() in data for secret in secrets), path
    assert not any(stage.task_app_key in json.dumps(body) for body in stage.model.bodies)


def test_unknown_job_is_404_and_bad_environment_key_is_422(stage):
    stage.start_backend()
    headers = {"Authorization": f"Bearer {backend_key(home())}"}
    with httpx.Client(base_url=stage.backend.url, headers=headers, trust_env=False) as client:
        assert client.get("/api/prompt-learning/online/jobs/pl_nothing").status_code == 404
        body = {"name": "ENVIRONMENT_API_KEY", "ciphertext_b64": "bm90IHNlYWxlZA=="}
        assert client.post("/api/v1/env-keys", json=body).status_code == 422
    stranger = BackendClient(stage.backend.url, "x" * 64)
    with pytest.raises(KeyMissingError):
        stranger.jobs()
    stranger.close()
