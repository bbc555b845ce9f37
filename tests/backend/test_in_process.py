"""Jobs without servers: `mipro-walk optimize` and what it shares with the backend."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from mipro_walk.backend.in_process import in_process_worlds, load_data, run_in_process
from mipro_walk.backend.measuring import measure
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.config import parse_config
from mipro_walk.errors import ConfigError
from mipro_walk.paths import home
from mipro_walk.results import DOCUMENT_NAMES, JOB_METADATA
from mipro_walk.results.files import encode
from mipro_walk.types import Candidate, Demonstration
from tests.backend.conftest import Stage, scripted_answer, wait_for
from tests.fakes.openai_server import Scripted


def settings_for(tmp_path, model) -> BackendSettings:
    environ = {"OPENAI_API_KEY": model.key, "OPENAI_BASE_URL": model.base_url}
    return BackendSettings(home=tmp_path / "home", keys=("k" * 64,), environ=environ)


def config_for(tmp_path, model, **mipro):
    document = Stage(tmp_path, model, task_app_url="http://127.0.0.1:8002").document(**mipro)
    return parse_config(document, origin="test")


@pytest.mark.parametrize("mode", ["tool_calls", "structured", "text"])
def test_job_runs_in_process_in_every_output_mode(tmp_path, model, mode):
    config = config_for(tmp_path, model)
    config = replace(config, policy=replace(config.policy, output_mode=mode))
    said: list[str] = []
    job, documents = run_in_process(settings_for(tmp_path, model), config, load_data(), said.append)
    assert job.status == "succeeded", job.error
    assert documents["best_prompt.json"]["score"]["n"] == 40
    assert "Phase 1: Bootstrap" in said


def test_backend_and_in_process_measure_the_same(stage, tmp_path):
    client = stage.start_backend()
    job_id = client.submit(stage.document())
    wait_for(client, job_id, "succeeded")
    by_http = client.results(job_id)
    config = parse_config(stage.document(), origin="test")
    _, in_process = run_in_process(settings_for(tmp_path / "other", stage.model), config, load_data(), lambda _: None)
    for name in set(DOCUMENT_NAMES) - {JOB_METADATA}:
        assert encode(in_process[name]) == encode(by_http[name]), name
    assert in_process[JOB_METADATA]["data"]["dataset_hash"] == by_http[JOB_METADATA]["data"]["dataset_hash"]


def test_what_a_job_of_the_backend_has_measured_is_not_asked_again_in_process(stage):
    client = stage.start_backend()
    job_id = client.submit(stage.document())
    wait_for(client, job_id, "succeeded")
    found = client.results(job_id)["best_prompt.json"]
    client.close()
    stage.backend.stop()
    config = parse_config(stage.document(), origin="test")
    environ = {"OPENAI_API_KEY": stage.model.key, "OPENAI_BASE_URL": stage.model.base_url}
    settings = BackendSettings(home=home(), keys=("k" * 64,), environ=environ)
    winner = found["winner"]
    candidate = Candidate(winner["instruction"], tuple(Demonstration(**demo) for demo in winner["demonstrations"]))
    prompts = {"winner": candidate, "baseline": None}
    measured = measure(settings, config, in_process_worlds(load_data()), prompts, "test")
    assert (measured.made, measured.recorded) == (0, 80)


def test_same_command_goes_on_after_a_pause(tmp_path, model):
    settings, config = settings_for(tmp_path, model), config_for(tmp_path, model, max_retries=0)
    data = load_data()
    model.answer = lambda body: scripted_answer(body) if len(model.requests) < 60 else Scripted.error(500)
    paused, documents = run_in_process(settings, config, data, lambda _: None)
    assert (paused.status, documents) == ("paused", None)
    model.answer = scripted_answer
    done, documents = run_in_process(settings, config, data, lambda _: None)
    assert (done.job_id, done.status) == (paused.job_id, "succeeded")
    assert threading.active_count() < 10


def test_finished_run_is_not_taken_up_again(tmp_path, model):
    settings, config = settings_for(tmp_path, model), config_for(tmp_path, model)
    data = load_data()
    first, _ = run_in_process(settings, config, data, lambda _: None)
    second, _ = run_in_process(settings, config, data, lambda _: None)
    assert first.job_id != second.job_id


def test_unreadable_data_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match="nothing-here"):
        load_data(str(tmp_path / "nothing-here.csv"))
