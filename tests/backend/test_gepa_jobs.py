"""GEPA jobs on real servers: the same backend, task app, ledger, budget and interceptor as MIPRO's."""

from __future__ import annotations

import random
import time
from collections import Counter

import httpx
import pytest

from mipro_walk.config import get_profile, parse_config, with_algorithm
from mipro_walk.errors import ConfigError
from mipro_walk.paths import backend_key, home
from mipro_walk.results import BEST_PROMPT, JOB_METADATA, SCORE_HISTORY
from mipro_walk.results.files import encode
from tests.backend.conftest import scripted_answer, submit_and_kill, wait_for
from tests.fakes.openai_server import Scripted

SAME_BYTES = ("best_prompt.json", "score_history.json", "selected_demos.json", "explanations.json")


def answer(body):
    """Answer as the meta-model in the form that GEPA asks for, or as the policy model, which long orders help."""
    system = body["messages"][0]["content"]
    if system.startswith("You improve"):
        asked = body["messages"][1]["content"]
        detail = "every detail of " * (len(asked) % 5)
        return f"Thoughts.\n```\nLook at {detail}the wish, part {len(asked) % 7919}.\n```"
    lucky = random.Random(system + body["messages"][-1]["content"]).random() < 0.1 + 0.22 * system.count("detail")
    return scripted_answer(body) if lucky else "age_limit"


def document(stage, **limits):
    found = with_algorithm(stage.document(), "gepa")
    found["prompt_learning"]["gepa"] |= {"pareto_set_size": 12}
    found["prompt_learning"]["termination_config"] |= {"budget": 120, **limits}
    return found


def files(client, job_id):
    documents = client.results(job_id)
    return {name: encode(documents[name]) for name in SAME_BYTES}


def questions(model):
    # A request of a backend that was killed may come without its body.
    asked = (body["messages"] for body in model.bodies if "messages" in body)
    return Counter(str(messages) for messages in asked if "You improve" not in str(messages[0]))


@pytest.fixture
def client(stage):
    stage.model.answer = answer
    return stage.start_backend()


def test_a_job_evolves_an_instruction_and_leaves_the_same_documents(stage, client):
    job_id = client.submit(document(stage))
    status = wait_for(client, job_id, "succeeded", "failed")
    assert status["status"] == "succeeded", status
    assert status["algorithm"] == "gepa"
    documents = client.results(job_id)
    best, history, metadata = documents[BEST_PROMPT], documents[SCORE_HISTORY], documents[JOB_METADATA]
    assert best["algorithm"] == history["algorithm"] == metadata["algorithm"] == "gepa"
    assert best["score"]["n"] == 40
    assert best["demonstrations"] == documents["selected_demos.json"]["demonstrations"] == []
    assert {step["status"] for step in history["iterations"]} & {"accepted", "not better"}
    assert history["rollouts"] <= 120
    assert documents["explanations.json"]["importance"] is None
    assert metadata["versions"]["gepa"]
    expected = {phase["name"]: phase["calls"] for phase in metadata["forecast"]["phases"]}
    actual = {name: usage["calls"] for name, usage in metadata["usage_by_phase"].items()}
    assert list(actual) == list(expected) == ["Baseline", "Evolution", "Final test"]
    assert actual["Baseline"] == expected["Baseline"] == 12
    assert (actual["Final test"], expected["Final test"]) == (80, 80)
    assert best["winner"]["instruction_source"] == "meta-model"
    assert sum(usage["cost_usd"] for usage in metadata["usage"].values()) > 0
    assert (status["progress"]["phase"], status["progress"]["phases"]) == ("test", 3)


def test_events_are_those_that_published_clients_read_for_gepa(stage, client):
    job_id = client.submit(document(stage))
    wait_for(client, job_id, "succeeded")
    events = client.events(job_id, 0, 10_000)
    assert events[-1]["type"] == "prompt.learning.gepa.complete"
    assert "gepa" in events[0]["type"]  # the published client names its report after it
    assert all(event["message"].strip() for event in events)
    found = {event["type"]: event["data"] for event in events}
    assert found["prompt.learning.trial.results"].keys() >= {"mean", "completed", "total"}
    assert found["gepa.transformation.proposed"].keys() >= {"transformation_id", "parent_id", "transformation_text"}
    assert found["prompt.learning.progress"]["rollouts_total"] == 120
    assert found["prompt.learning.validation.summary"].keys() == {"baseline", "results"}
    assert found["prompt.learning.best.prompt"]["best_prompt"]["sections"]
    assert found["prompt.learning.final.results"]["attempted_candidates"]
    assert "prompt.learning.rollouts.start" in found
    foreign = ("mipro.job.started", "mipro.trial.complete", "mipro.iteration.start", "mipro.bootstrap.completed")
    assert not set(foreign) & set(found)


def test_metrics_are_the_points_that_published_clients_draw(stage, client):
    job_id = client.submit(document(stage))
    wait_for(client, job_id, "succeeded")
    url = f"{stage.backend.url}/api/prompt-learning/online/jobs/{job_id}/metrics"
    points = httpx.get(url, headers={"Authorization": f"Bearer {backend_key(home())}"}).json()["points"]
    assert {point["name"] for point in points} == {"gepa.transformation.mean_score"}
    steps = [point["step"] for point in points]
    assert steps == sorted(set(steps))  # a point that is not above the last one is not shown
    assert all(point["created_at"] for point in points)


def test_killed_again_and_again_and_resumed_gives_the_same_bytes_and_pays_nothing_twice(stage, client):
    undisturbed = client.submit(document(stage))
    wait_for(client, undisturbed, "succeeded")
    expected, calls = files(client, undisturbed), questions(stage.model)
    stage.model.requests.clear()

    stage.model.answer = lambda body: Scripted(answer(body), delay_seconds=0.03)
    delays = random.Random(1)
    times = (delays.uniform(0.2, 0.9) for _ in range(5))
    client, job_id = submit_and_kill(stage, client, document(stage), times)

    assert files(client, job_id) == expected
    repeated = questions(stage.model) - calls
    assert sum(repeated.values()) <= 5 * 8  # at most what was in flight at each kill: eight calls
    messages = [event["message"] for event in client.events(job_id, 0, 10_000)]
    assert messages.count("Phase 2: Reflective evolution") == 1


def test_a_dead_model_pauses_the_job_and_is_never_a_bad_prompt(stage, client):
    stage.model.answer = lambda _body: Scripted.error(500)
    found = document(stage)
    found["prompt_learning"]["gepa"]["max_retries"] = 1
    job_id = client.submit(found)
    wait_for(client, job_id, "paused", seconds=90)
    stage.model.answer = answer
    client.resume(job_id)
    wait_for(client, job_id, "succeeded")
    assert client.results(job_id)[BEST_PROMPT]["score"]["excluded"] == 0


def test_a_cap_on_money_is_kept_and_the_final_test_is_paid(stage, client):
    cap = 0.04
    job_id = client.submit(document(stage, budget=900, target_score=1.0, max_cost_usd=cap))
    status = wait_for(client, job_id, "succeeded", "failed")
    assert status["status"] == "succeeded", status
    documents = client.results(job_id)
    assert documents[JOB_METADATA]["stop_reason"] == "cost cap"
    assert sum(u["cost_usd"] for u in documents[JOB_METADATA]["usage"].values()) <= cap
    assert documents[BEST_PROMPT]["score"]["n"] == 40


def test_cancelling_keeps_what_was_found(stage, client):
    stage.model.answer = lambda body: Scripted(answer(body), delay_seconds=0.1)
    job_id = client.submit(document(stage))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and client.status(job_id)["progress"].get("phase") != "evolution":
        time.sleep(0.05)
    client.cancel(job_id)
    wait_for(client, job_id, "cancelled")
    best = client.results(job_id)[BEST_PROMPT]
    assert best["score"] is None
    assert best["search_score"]["n"] > 0


def test_a_key_of_gepa_that_is_wrong_is_named_in_the_answer_to_a_submit(stage, client):
    found = document(stage)
    found["prompt_learning"]["gepa"]["minibatchsize"] = 3
    with pytest.raises(ConfigError) as caught:
        client.submit(found)
    assert "Did you mean 'minibatch_size'?" in str(caught.value.problems or caught.value)


def test_the_shipped_profile_is_gepas():
    config = parse_config(get_profile("gepa").document, origin="profile", environ={})
    assert (config.settings.algorithm, config.ignored) == ("gepa", ())
