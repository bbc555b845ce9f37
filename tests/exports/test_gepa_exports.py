"""A finished job of GEPA leaves for other tools, too; it is no study of two axes."""

from __future__ import annotations

import json

import pytest

from mipro_walk.backend.in_process import load_data, run_in_process
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.config import parse_config
from mipro_walk.errors import ConfigError
from mipro_walk.exports.formats import FORMATS
from mipro_walk.exports.recorded import read_recorded
from mipro_walk.exports.source import ExportSource
from mipro_walk.ledger import Ledger
from tests.backend.conftest import Stage
from tests.backend.test_gepa_jobs import answer, document
from tests.fakes.openai_server import ScriptedOpenAI


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gepa")
    with ScriptedOpenAI(answer=answer) as model:
        environ = {"OPENAI_API_KEY": model.key, "OPENAI_BASE_URL": model.base_url}
        settings = BackendSettings(home=folder / "home", keys=("k" * 64,), environ=environ)
        config = parse_config(document(Stage(folder, model, task_app_url="http://127.0.0.1:8002")), origin="test")
        job, documents = run_in_process(settings, config, load_data(), lambda _message: None)
    assert documents is not None, job.error
    ledger = Ledger(settings.database)
    try:
        return ExportSource(documents, "winner", read_recorded(ledger, job.job_id))
    finally:
        ledger.close()


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"optuna"}))
def test_every_format_of_a_prompt_can_be_written(source, name):
    assert FORMATS[name].make(source)


def test_rollouts_name_the_instruction_of_each_line(source):
    lines = [json.loads(line) for line in FORMATS["rollouts"].make(source).splitlines()]
    named = [line for line in lines if line["instruction"] is not None]
    assert len(named) == len(lines) > 100
    assert {line["demo_set"] for line in named} == {0}
    assert {line["split"] for line in named} == {"train", "val", "test"}


def test_a_study_is_refused_with_what_to_do_instead(source):
    with pytest.raises(ConfigError, match="no Optuna study") as found:
        FORMATS["optuna"].make(source)
    assert "--format rollouts" in found.value.fix
