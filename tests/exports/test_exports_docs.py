"""docs/exports.md: each snippet runs on the file that the command above it writes."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from mipro_walk.exports.formats import FORMATS
from tests.backend.conftest import scripted_answer
from tests.cli.terminal import PROJECT
from tests.fakes.openai_server import ScriptedOpenAI

TEXT = (PROJECT / "docs" / "exports.md").read_text(encoding="utf-8")
SECTIONS = {s.split("\n", 1)[0]: s for s in TEXT.split("\n## ")[1:]}
COMMAND = re.compile(r"^mipro-walk export --format (\w+)(?: --prompt (\w+))? --output (\S+)$", re.MULTILINE)
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAYS = {
    "openai": "classify_intent",
    "python": "card",
    "langchain": "Where is my card?",
    "dspy": "5",
    "rollouts": "on 40 rows",
    "optuna": "instruction",
}


def test_every_format_has_its_place_and_its_command():
    assert {name for section in SECTIONS.values() for name, _, _ in COMMAND.findall(section)} == set(FORMATS)
    assert {title for title, section in SECTIONS.items() if CODE.search(section)} == set(SAYS)


@pytest.mark.parametrize("title", sorted(SECTIONS))
def test_section_runs(finish, tmp_path, title):
    finished = finish("tool_calls")
    if title == "dspy" and importlib.util.find_spec("dspy") is None:
        pytest.skip("dspy needs litellm, which is not installed here; see CONTRIBUTING.md")
    for name, choice, path in COMMAND.findall(SECTIONS[title]):
        made = FORMATS[name].make(finished.choose(choice or "winner"))
        (tmp_path / path).write_text(made, encoding="utf-8")
    for code in CODE.findall(SECTIONS[title]):
        with ScriptedOpenAI(answer=scripted_answer) as model:
            environ = {"PATH": os.environ["PATH"], "OPENAI_API_KEY": model.key, "OPENAI_BASE_URL": model.base_url}
            environ |= {"HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
            ran = subprocess.run(
                [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=180
            )
        assert ran.returncode == 0, ran.stderr
        assert SAYS[title] in ran.stdout
