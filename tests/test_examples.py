"""The blocks of docs/python.md and the files in examples/ run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mipro_walk
from mipro_walk.errors import PrerequisiteError
from mipro_walk.local_model import pull
from tests.fakes.openai_server import ScriptedOpenAI

PROJECT = Path(__file__).parent.parent
EXAMPLES = PROJECT / "examples"
PAGE = (PROJECT / "docs" / "python.md").read_text(encoding="utf-8")
LOCAL = ["one_prompt.py", "two_stages.py", "own_metric.py"]
VERDICT = re.compile(
    r"^(Better|Worse|No significant gain): \d\.\d\d → \d\.\d\d on (\d+) unseen test rows, .*\n(Use|Keep) the .*\n  \S",
    re.MULTILINE,
)


def run(arguments, cwd, **variables):
    """Run Python in a folder; return what it printed."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "MIPRO_WALK_HOME": str(cwd / "home"), **variables}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=480,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def init(folder, kind, cwd):
    """Make a project of a sample, as the examples say."""
    run(["-m", "mipro_walk", "init", "--sample", kind, "--folder", folder, "--non-interactive"], cwd)


def test_the_page_runs_from_top_to_bottom(tmp_path):
    init("helpdesk", "classification", tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) > 8
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    out = run([script], tmp_path)
    assert out.startswith("Better: 0.00 → 1.00 on 40 unseen test rows")
    found = dict(line.split(" ", 1) for line in out.splitlines() if line.startswith(("find Find", "add Add")))
    assert int(found["find"].split()[-1]) > 0  # demonstrations of the stage that needs them


@pytest.mark.parametrize("name", [name for name in mipro_walk.__all__ if not name.startswith("_")])
def test_every_public_name_is_shown_on_the_page_or_in_an_example(name):
    shown = PAGE + "".join(path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.py"))
    explained = {"Candidate", "Demonstration", "Example", "Metric", "Outcome", "OptimizationResult", "Task"}
    assert re.search(rf"\b{name}\b", shown) or name in explained
    assert name not in explained or isinstance(getattr(mipro_walk, name), type)


def test_every_example_is_run_here():
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted([*LOCAL, "async_endpoint.py"])


@pytest.mark.parametrize("name", LOCAL)
def test_examples_run_on_the_local_model(name, tmp_path):
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    named = os.environ.get("MIPRO_WALK_TEST_MODEL_DIR")
    try:
        weights = pull(Path(named) if named else tmp_path / "home" / "models")
    except PrerequisiteError as exc:
        pytest.skip(f"the weights cannot be had here: {exc.message}")
    if named:
        (tmp_path / "home").mkdir(mode=0o700)
        (tmp_path / "home" / "models").symlink_to(weights.parent)
    kind, folder = re.search(r"init --sample (\w+) --folder (\w+)", (EXAMPLES / name).read_text()).groups()
    init(folder, kind, tmp_path)
    out = run([EXAMPLES / name, folder], tmp_path)
    assert VERDICT.search(out)
    assert VERDICT.search(out)[2] == "30"


def test_the_example_of_an_endpoint_runs_against_one(tmp_path):
    init("helpdesk", "classification", tmp_path)

    def answer(body):
        if body["model"] == "gpt-4o":
            return f"Name the topic of the message, with care, in variant {len(str(body['messages']))} of this text."
        return "delivery" if len(body["messages"]) > 2 else "no idea"

    with ScriptedOpenAI(answer=answer) as server:
        out = run(
            [EXAMPLES / "async_endpoint.py", "helpdesk"],
            tmp_path,
            OPENAI_API_KEY=server.key,
            OPENAI_BASE_URL=server.base_url,
        )
        models = {request.body["model"] for request in server.requests}
    assert VERDICT.search(out)
    assert models == {"gpt-4o-mini", "gpt-4o"}
