"""Submitting, following, finishing: what each end of a job turns into."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from mipro_walk.config import RunConfig, parse_config
from mipro_walk.errors import ConfigError, IncompleteError, MiproWalkError, ScoreBelowThresholdError
from mipro_walk.results import DOCUMENT_NAMES, REPORT
from mipro_walk.walkthrough.submit_job import (
    last_unfinished,
    paid_models,
    report_problem_in_words,
    require_score,
    resume_and_follow,
    submit_and_follow,
    with_spending_limit,
)
from tests.cli.scripted_backend import JOB_ID, ScriptedBackend, documents, status


def config(provider: str = "local", **termination: Any) -> RunConfig:
    policy = {"provider": provider, "model": "smollm2-135m-instruct" if provider == "local" else "gpt-4o-mini"}
    section = {
        "algorithm": "mipro",
        "task_app_url": "http://127.0.0.1:8002",
        "task_app_api_key": "k" * 32,
        "policy": policy,
        "termination_config": termination,
    }
    return parse_config({"prompt_learning": section}, origin="test")


def backend(state: str = "succeeded", verdict: str | None = "better", **changes: Any) -> ScriptedBackend:
    found = ScriptedBackend([([], status(state, stop_reason="all iterations done", **changes))])
    found.documents = documents(verdict)
    return found


def test_a_job_that_succeeds_leaves_its_files_with_their_checksums(tmp_path: Path) -> None:
    client = backend()
    folder = tmp_path / "results"
    done = submit_and_follow(client, config(), follow=client.status, results_folder=folder)
    assert done.job_id == JOB_ID
    assert {path.name for path in done.files} == {*DOCUMENT_NAMES, REPORT}
    metadata = json.loads((folder / "job_metadata.json").read_bytes())
    for name in {*DOCUMENT_NAMES, REPORT} - {"job_metadata.json"}:
        assert metadata["files"][name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert not list(folder.glob(".*"))


def test_the_submit_carries_the_resolved_config_and_where_to_put_the_results(tmp_path: Path) -> None:
    client = backend()
    submit_and_follow(client, config(), follow=client.status, results_folder=tmp_path, launch={"task_app": {"port": 1}})
    [(document, launch)] = client.submitted
    assert document["prompt_learning"]["termination_config"]["budget"] == 100
    assert document["prompt_learning"]["task_app_api_key"] == "k" * 32
    assert launch == {"task_app": {"port": 1}, "results_folder": str(tmp_path)}


def test_the_json_object_says_verdict_scores_and_files(tmp_path: Path) -> None:
    client = backend()
    done = submit_and_follow(client, config(), follow=client.status, results_folder=tmp_path).as_dict()
    assert done["schema_version"] == 1
    assert (done["job_id"], done["status"], done["verdict"]) == (JOB_ID, "succeeded", "better")
    assert done["scores"]["test"]["n"] == 100
    assert len(done["files"]) == len({*DOCUMENT_NAMES, REPORT})


def test_a_report_that_fails_is_said_and_the_job_is_done(tmp_path: Path) -> None:
    (tmp_path / REPORT).mkdir()
    client = backend()
    done = submit_and_follow(client, config(), follow=client.status, results_folder=tmp_path)
    assert {path.name for path in done.files} == set(DOCUMENT_NAMES)
    assert f"mipro-walk report {JOB_ID}" in report_problem_in_words(done)


@pytest.mark.parametrize(("verdict", "score"), [("better", 0.55), ("worse", 0.55), (None, 0.62)])
def test_the_score_is_the_recommended_prompts(verdict: str | None, score: float, tmp_path: Path) -> None:
    client = backend(verdict=verdict)
    done = submit_and_follow(client, config(), follow=client.status, results_folder=None)
    assert done.score == pytest.approx(score)


def test_a_failed_job_is_exit_1_with_its_reason_and_fix() -> None:
    client = backend("failed", error="the model is not there", fix="Name another model.")
    with pytest.raises(MiproWalkError) as caught:
        submit_and_follow(client, config(), follow=client.status, results_folder=None)
    assert caught.value.exit_code == 1
    assert "the model is not there" in caught.value.message
    assert caught.value.fix == f"Name another model. Then: mipro-walk resume {JOB_ID}"


def test_a_paused_job_is_exit_7_with_how_to_resume() -> None:
    client = backend("paused", error="too many unknown answers")
    with pytest.raises(IncompleteError) as caught:
        submit_and_follow(client, config(), follow=client.status, results_folder=None)
    assert caught.value.exit_code == 7
    assert f"mipro-walk resume {JOB_ID}" in caught.value.fix


@pytest.mark.parametrize(("state", "asked"), [("paused", True), ("failed", True), ("succeeded", False)])
def test_resume_goes_on_with_what_stopped_and_leaves_what_is_done(state: str, asked: bool) -> None:
    client = ScriptedBackend([([], status(state)), ([], status("succeeded"))])
    client._poll = 0
    client.documents = documents()
    found = resume_and_follow(client, JOB_ID, follow=lambda job: status("succeeded"), results_folder=None)
    assert found.status["status"] == "succeeded"
    assert ("resume" in client.asked) is asked


def test_the_last_unfinished_job_is_the_newest_one() -> None:
    client = backend()
    client.found_jobs = [{"job_id": "c", "status": "succeeded"}, {"job_id": "b", "status": "paused"}]
    assert last_unfinished(client) == "b"
    client.found_jobs = client.found_jobs[:1]
    with pytest.raises(ConfigError, match="no unfinished job"):
        last_unfinished(client)


def limit(found: RunConfig, **changes: Any) -> RunConfig:
    options: dict[str, Any] = {"max_cost_usd": None, "yes": False, "is_interactive": False, "confirm": lambda _: False}
    return with_spending_limit(found, **{**options, **changes})


def test_local_models_need_no_consent() -> None:
    assert paid_models(config()) == []
    assert limit(config()) == config()


def test_a_paid_model_where_nobody_can_be_asked_names_both_flags() -> None:
    with pytest.raises(ConfigError) as caught:
        limit(config("openai"))
    assert "openai/gpt-4o-mini" in caught.value.message
    assert "--yes" in caught.value.fix
    assert "--max-cost-usd" in caught.value.fix


def test_a_paid_model_runs_with_yes_a_cap_in_the_config_or_an_answer() -> None:
    paid = config("openai")
    assert limit(paid, yes=True) == paid
    assert limit(paid, is_interactive=True, confirm=lambda _: True) == paid
    assert limit(config("openai", max_cost_usd=1.0)).settings.max_cost_usd == 1.0
    with pytest.raises(ConfigError, match="Nothing was submitted"):
        limit(paid, is_interactive=True)


def test_the_cap_of_the_command_line_reaches_the_job() -> None:
    capped = limit(config("openai"), max_cost_usd=0.5)
    assert capped.as_dict()["prompt_learning"]["termination_config"]["max_cost_usd"] == 0.5


def test_a_score_below_the_threshold_is_exit_6() -> None:
    client = backend()
    done = submit_and_follow(client, config(), follow=client.status, results_folder=None)
    require_score(done, None)
    require_score(done, 0.55)
    with pytest.raises(ScoreBelowThresholdError, match=r"0\.550, below --fail-under 0\.9"):
        require_score(done, 0.9)
