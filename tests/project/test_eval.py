"""`mipro-walk eval --project`: a saved prompt on a project's rows, judged ones included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from mipro_walk.cli.main import main
from tests import json_schemas
from tests.fakes.openai_server import Scripted, ScriptedOpenAI
from tests.project.helpers import Script, document, sample

SPOILED = "Do whatever you like."


@pytest.fixture(params=["classification", "extraction", "judged"])
def stage(request, tmp_path, monkeypatch):
    """A project with a script that answers nothing of use once the instruction is spoiled."""
    monkeypatch.setenv("MIPRO_WALK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    project = sample(request.param, tmp_path / "task")
    Path("task/mipro_config.toml").write_text(tomli_w.dumps(document(tmp_path / "task")))
    script = Script(project)

    def answer(body: dict[str, Any]) -> Any:
        is_spoiled = SPOILED in body["messages"][0]["content"]
        if "You judge" in body["messages"][0]["content"]:
            rating = "1" if "useless" in body["messages"][1]["content"] else "5"
            return Scripted(message={"role": "assistant", "content": json.dumps({"rating": rating})})
        return Scripted(message={"role": "assistant", "content": "useless"}) if is_spoiled else script(body)

    with ScriptedOpenAI(answer=answer) as model:
        monkeypatch.setenv("OPENAI_API_KEY", model.key)
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        yield model


def save(name: str, instruction: str) -> None:
    document = {"schema_version": 1, "kind": "mipro_walk.best_prompt", "demonstrations": []}
    Path(name).write_text(json.dumps(document | {"instruction": {"role": "system", "content": instruction}}))


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    json_schemas.require_valid(json_schemas.EVAL, found)
    return found


def test_a_run_is_measured_from_its_record_and_a_spoiled_prompt_fails(stage, capsys) -> None:
    assert main(["optimize", "task", "--yes", "--json", "--results", "results"]) == 0
    capsys.readouterr()
    asked = len(stage.requests)
    assert main(["eval", "results", "baseline", "--project", "task", "--json", "--yes"]) == 0
    found = told(capsys)
    assert len(stage.requests) == asked
    assert found["data"].startswith("project: data.csv")
    assert found["prompt"]["n"] == 12
    save("bad.json", SPOILED)
    arguments = ["bad.json", "--project", "task", "--baseline", "results", "--max-regression", "0.02"]
    assert main(["eval", *arguments, "--junit", "eval.xml", "--json", "--yes"]) == 6
    found = told(capsys)
    assert found["comparison"]["difference"] < -0.02
    assert found["regressed"]


def test_a_configuration_beside_a_task_is_about_that_task(stage, capsys) -> None:
    save("any.json", "Answer.")
    assert main(["eval", "any.json", "--config", "task/mipro_config.toml", "--json", "--yes"]) == 0
    assert told(capsys)["data"].startswith("project: ")


def test_what_is_no_project_is_refused(stage, tmp_path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["eval", "baseline", "--project", "empty", "--yes"]) == 2
    assert "task.toml" in capsys.readouterr().err
    assert stage.requests == []
