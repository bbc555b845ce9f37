"""Finished jobs to export: real ones against a scripted model, one for each form of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from mipro_walk.backend.in_process import load_data, run_in_process
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.config import parse_config
from mipro_walk.exports.recorded import read_recorded
from mipro_walk.exports.source import ExportSource
from mipro_walk.ledger import Ledger
from tests.backend.conftest import Stage, scripted_answer
from tests.fakes.openai_server import Received, ScriptedOpenAI

MODES = ("tool_calls", "structured", "text")


@dataclass(frozen=True)
class Finished:
    """A finished job, its ledger's folder and everything that reached the model."""

    job_id: str
    home: Any
    documents: Mapping[str, Any]
    source: ExportSource
    requests: tuple[Received, ...]

    def choose(self, choice: str) -> ExportSource:
        return replace(self.source, choice=choice)

    def test_rows(self) -> list[tuple[str, str]]:
        return [(row.query, row.label) for row in self.source.ledger().rows["test"]]

    def sent(self, choice: str, query: str) -> bytes:
        """Return the bytes with which the job asked about a query with one of its prompts; they never varied."""
        prompt = self.documents["best_prompt.json"][choice]
        users = [*(demo["query"] for demo in prompt["demonstrations"]), query]
        found = {
            request.raw
            for request in self.requests
            if [m["content"] for m in request.body["messages"] if m["role"] == "user"] == users
            and request.body["messages"][0]["content"].startswith(prompt["instruction"])
        }
        (only,) = found
        return only


@pytest.fixture(scope="session")
def finish(tmp_path_factory):
    """Return a function that runs a job in an output mode, each of them once in a session."""
    done: dict[str, Finished] = {}

    def run(mode: str) -> Finished:
        if mode not in done:
            done[mode] = run_job(tmp_path_factory.mktemp(mode), mode)
        return done[mode]

    return run


def run_job(folder, mode: str) -> Finished:
    home = folder / "home"
    with ScriptedOpenAI(answer=scripted_answer) as model:
        environ = {"OPENAI_API_KEY": model.key, "OPENAI_BASE_URL": model.base_url}
        settings = BackendSettings(home=home, keys=("k" * 64,), environ=environ)
        config = parse_config(Stage(folder, model, task_app_url="http://127.0.0.1:8002").document(), origin="test")
        config = replace(config, policy=replace(config.policy, output_mode=mode))
        job, documents = run_in_process(settings, config, load_data(), lambda _message: None)
        requests = tuple(model.requests)
    assert documents is not None, job.error
    ledger = Ledger(settings.database)
    try:
        source = ExportSource(documents, "recommended", read_recorded(ledger, job.job_id))
    finally:
        ledger.close()
    return Finished(job.job_id, home, documents, source, requests)


@pytest.fixture(params=MODES)
def finished(request, finish) -> Finished:
    return finish(request.param)
