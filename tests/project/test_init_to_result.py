"""A project that ``init`` has written runs to a verdict as it is, whatever its kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from mipro_walk.backend.in_process import run_in_process
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.config import parse_config
from mipro_walk.project.creating import write_project
from mipro_walk.project.loading import load_project
from tests.fakes.openai_server import ScriptedOpenAI
from tests.project.helpers import Script, document
from tests.project.test_creating import ANSWERS, new_project


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_new_project_runs_to_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("MIPRO_WALK_HOME", str(tmp_path / "home"))
    new = new_project(tmp_path, kind, ("subject", "body"))
    write_project(new)
    project = load_project(new.folder)
    with ScriptedOpenAI(answer=Script(project)) as model:
        environ = {"OPENAI_API_KEY": model.key, "OPENAI_BASE_URL": model.base_url}
        settings = BackendSettings(home=tmp_path / "in_process", keys=("k" * 64,), environ=environ)
        config = parse_config(document(new.folder), origin="test")
        job, documents = run_in_process(settings, config, project, lambda _: None)
    assert job.status == "succeeded", job.error
    assert documents is not None
    assert documents["best_prompt.json"]["score"]["n"] == 12
