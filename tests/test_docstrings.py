"""Examples in docstrings are run."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
SOURCES = [path for folder in ("src", "task_apps") for path in sorted((PROJECT / folder).rglob("*.py"))]
EXAMPLES = [
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removeprefix("src.").removesuffix(".__init__")
    for path in SOURCES
    if ">>> " in path.read_text(encoding="utf-8")
]


def test_there_are_examples():
    assert "mipro_walk.library.tasks" in EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_say_what_comes_out(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0
