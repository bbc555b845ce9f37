"""The judge: its noise is measured and shown, its calls are counted and priced, its nonsense is unknown and not 0."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from mipro_walk.backend.in_process import run_in_process
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.config import parse_config
from mipro_walk.project.app import ProjectService
from mipro_walk.project.loading import load_project
from mipro_walk.project.scorers.judged import JUDGE_SYSTEM
from task_apps.serving.contract import ModelReply, ScoringError
from task_apps.serving.policy import UpstreamFailure
from task_apps.serving.schemas import RolloutRequest
from tests.fakes.openai_server import Scripted, ScriptedOpenAI
from tests.project.helpers import Script, document, sample


class Judge(Script):
    """Rates each answer by ``ratings``, by how often it was asked about it."""

    def __init__(self, project, ratings):
        super().__init__(project)
        self.ratings, self.seen = ratings, Counter()

    def __call__(self, body):
        if not is_judge(body):
            return super().__call__(body)
        text = body["messages"][1]["content"]
        self.seen[text] += 1
        return Scripted(message={"role": "assistant", "content": self.ratings[(self.seen[text] - 1) % 2]})


def is_judge(body):
    return body["messages"][0]["content"].startswith(JUDGE_SYSTEM[:20])


def run(tmp_path, ratings, **mipro):
    project = sample("judged", tmp_path / "task")
    with ScriptedOpenAI(answer=Judge(project, ratings)) as model:
        environ = {"OPENAI_API_KEY": model.key, "OPENAI_BASE_URL": model.base_url}
        settings = BackendSettings(home=tmp_path / "home", keys=("k" * 64,), environ=environ)
        config = parse_config(document(tmp_path / "task", **mipro), origin="test")
        job, documents = run_in_process(settings, config, project, lambda _: None)
        return job, documents, [body for body in model.bodies if is_judge(body)]


def test_noise_is_the_distance_of_two_ratings_of_the_same_answers(tmp_path):
    job, documents, asked = run(
        tmp_path, ['{"rating": "5"}', '{"rating": "3"}'], num_demos=0, optimize_instructions=False
    )
    assert job.status == "succeeded", job.error
    judge = documents["explanations.json"]["judge"]
    assert judge["answers"] == 12
    assert judge["rated_twice"] == 5
    assert judge["different"] == 1  # every first rating is a 5
    assert judge["mean_difference"] == judge["largest_difference"] == 0.5
    assert judge["same"] == 0
    usage = documents["job_metadata.json"]["usage"]
    assert usage["judge"]["calls"] == len(asked)
    assert usage["judge"]["cost_usd"] > 0
    assert documents["job_metadata.json"]["models"]["judge"]["model"] == "gpt-4o-mini"
    twice = Counter(json.dumps(body["messages"]) for body in asked)
    assert Counter(twice.values())[2] >= 5


def test_a_rating_that_cannot_be_read_is_unknown_and_pauses_a_run_rather_than_score_0(tmp_path):
    job, documents, _ = run(tmp_path, ["very good indeed"] * 2)
    assert (job.status, documents) == ("paused", None)
    assert "the judge's answer could not be read (no_number)" in job.error


def test_an_unreadable_second_rating_is_left_out_of_the_noise(tmp_path):
    job, documents, _ = run(tmp_path, ["4", "hm"], num_demos=0, optimize_instructions=False)
    assert job.status == "succeeded", job.error
    judge = documents["explanations.json"]["judge"]
    assert (judge["rated_twice"], judge["mean_difference"]) == (0, None)


# ---- over HTTP, at the service


def request(seed=0, **config):
    return RolloutRequest.model_validate(
        {
            "run_id": "r",
            "env": {"seed": seed},
            "policy": {"config": {"model": "m", "inference_url": "http://x", **config}},
        }
    )


def replies(*texts):
    waiting = list(texts)

    async def ask(_body):
        return ModelReply(waiting.pop(0))

    return ask


async def rollout(tmp_path, *ratings, kind="judged", answer="Hello!", split="test", seed=0):
    service = ProjectService(sample(kind, tmp_path / "task"))
    return await service.rollout(request(seed), split, "text", replies(answer), replies(*ratings))


def asynchronously(coroutine):
    import asyncio

    return asyncio.run(coroutine)


def test_service_rates_the_first_test_rows_twice_and_others_once(tmp_path):
    first = asynchronously(rollout(tmp_path, "5", "4"))
    assert (first.score, first.figures) == (1.0, {"second rating": 0.75})
    later = asynchronously(rollout(tmp_path / "b", "2", seed=5))
    assert (later.score, later.figures, later.reason) == (0.25, {}, "not the best rating")
    val = asynchronously(rollout(tmp_path / "c", "1", split="val"))
    assert val.score == 0.0


def test_service_answers_an_unreadable_rating_with_an_error(tmp_path):
    with pytest.raises(UpstreamFailure) as caught:
        asynchronously(rollout(tmp_path, "splendid", "5"))
    assert caught.value.status == 502


def test_an_empty_answer_scores_0_without_a_judge(tmp_path):
    assert asynchronously(rollout(tmp_path, answer=" ")).score == 0.0


def test_a_failing_scorer_is_an_error_of_the_task_app(tmp_path, monkeypatch):
    project = sample("rating", tmp_path / "task")
    monkeypatch.setattr(project.scorer, "score", lambda answer, expected: (float("nan"), {}))
    with pytest.raises(ScoringError, match="Rating gave nan"):
        asynchronously(ProjectService(project).rollout(request(), "test", "text", replies("3"), replies()))


def test_a_failing_scorer_ends_a_run_with_its_name(tmp_path, monkeypatch):
    project = sample("rating", tmp_path / "task")
    monkeypatch.setattr(project.scorer, "score", lambda answer, expected: (2.0, {}))
    with ScriptedOpenAI(answer=Script(project)) as model:
        environ = {"OPENAI_API_KEY": model.key, "OPENAI_BASE_URL": model.base_url}
        settings = BackendSettings(home=tmp_path / "home", keys=("k" * 64,), environ=environ)
        config = parse_config(document(tmp_path / "task"), origin="test")
        job, documents = run_in_process(settings, config, project, lambda _: None)
    assert (job.status, documents) == ("failed", None)
    assert job.error.startswith("Rating gave 2.0")


def test_identity_changes_with_rows_and_scoring_and_not_with_the_instruction(tmp_path):
    folder = tmp_path / "task"
    first = sample("rating", folder).identity
    text = (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(text.replace("Read the review of", "Look at the review of"))
    assert load_project(folder).identity == first
    (folder / "task.toml").write_text(text.replace('metric = "closeness"', 'metric = "exact"'))
    assert load_project(folder).identity != first
