"""Every sample project through both doors: in process, and backend plus task app, with equal documents."""

from __future__ import annotations

import json
import secrets

import pytest

from mipro_walk.backend.in_process import run_in_process
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.config import parse_config
from mipro_walk.project.sections import KINDS
from mipro_walk.results import DOCUMENT_NAMES, JOB_METADATA
from mipro_walk.results.files import encode
from mipro_walk.walkthrough.services import Services
from tests.backend.conftest import Stage, wait_for
from tests.fakes.openai_server import ScriptedOpenAI
from tests.project.helpers import Script, document, sample


def settings_for(tmp_path, model) -> BackendSettings:
    environ = {"OPENAI_API_KEY": model.key, "OPENAI_BASE_URL": model.base_url}
    return BackendSettings(home=tmp_path / "in_process", keys=("k" * 64,), environ=environ)


@pytest.fixture
def services():
    made = Services({})
    yield made
    made.close()


@pytest.mark.parametrize("kind", KINDS)
def test_sample_gives_the_same_documents_through_both_doors(kind, tmp_path, monkeypatch, services):
    monkeypatch.setenv("MIPRO_WALK_HOME", str(tmp_path / "home"))
    project = sample(kind, tmp_path / "task")
    with ScriptedOpenAI(answer=Script(project)) as model:
        config = parse_config(document(tmp_path / "task"), origin="test")
        said: list[str] = []
        job, direct = run_in_process(settings_for(tmp_path, model), config, project, said.append)
        assert job.status == "succeeded", job.error
        in_process = [request.body for request in model.requests]
        model.requests.clear()
        stage = Stage(tmp_path, model, task_app_key=secrets.token_hex(32))
        app = services.start_task_app(stage.task_app_key, 0, str(tmp_path / "task"), tmp_path / "app.log")
        client = stage.start_backend()
        try:
            job_id = client.submit(document(tmp_path / "task", app.url))
            wait_for(client, job_id, "succeeded")
            by_http = client.results(job_id)
        finally:
            client.close()
            stage.backend.stop()
    for name in set(DOCUMENT_NAMES) - {JOB_METADATA}:
        assert encode(direct[name]) == encode(by_http[name]), name
    assert direct[JOB_METADATA]["data"]["dataset_hash"] == by_http[JOB_METADATA]["data"]["dataset_hash"]
    over_http = [request.body for request in model.requests]
    assert sorted(map(canonical, in_process)) == sorted(map(canonical, over_http))
    for metadata in (direct[JOB_METADATA], by_http[JOB_METADATA]):
        assert metadata["data"]["source"].startswith("project: data.csv")
        assert ("judge" in metadata["usage"]) == (kind == "judged")
    check_requests(project, in_process)
    check_explanations(kind, direct["explanations.json"])


def canonical(body):
    return json.dumps(body, sort_keys=True)


def check_requests(project, bodies):
    """Every question to the policy model carries each fixed part byte for byte, and asks in the kind's form."""
    policy = [
        b for b in bodies if not b["messages"][0]["content"].startswith(("You improve", "You describe", "You judge"))
    ]
    assert len(policy) >= 40
    for body in policy:
        assert all(part in body["messages"][0]["content"] for part in project.definition.fixed)
        assert ("response_format" in body) == (project.definition.kind != "judged")
    asked = [b for b in bodies if b["messages"][0]["content"].startswith("You improve")]
    assert all(
        bool(json.loads(b["messages"][1]["content"]).get("fixed_parts")) == bool(project.definition.fixed)
        for b in asked
    )


def check_explanations(kind, document):
    assert (document["labels"] is not None) == (kind == "classification")
    assert (document["confusions"] is not None) == (kind == "classification")
    names = {figure["name"] for figure in document["figures"] or []}
    wanted = {
        "multi_label": {"exact", "f1"},
        "short_answer": {"exact", "f1"},
        "rating": {"exact", "within_one", "closeness"},
        "extraction": {"exact", "fields", "field day", "field time", "field person"},
    }
    assert names == wanted.get(kind, set())
    assert (document["correlation"] is not None) == (kind == "rating")
    if kind == "judged":
        assert document["judge"]["rated_twice"] >= 5
        assert document["judge"]["mean_difference"] == 0.0
