"""README stays true: its Python runs, its configurations load, its commands and links exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from mipro_walk.cli.main import app
from mipro_walk.config import load_config

PROJECT = Path(__file__).parent.parent
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_python_example_runs_and_finds_the_better_prompt():
    done = subprocess.run([sys.executable, "-c", blocks("python")[0]], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Better: 0.00 → 1.00 on 40 unseen test rows")


def test_the_program_of_two_stages_is_the_one_in_the_examples():
    assert blocks("python")[1] in (PROJECT / "examples" / "two_stages.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", blocks("toml"))
def test_configuration_blocks_load(block, tmp_path):
    header = (
        ""
        if "[prompt_learning]\n" in block
        else '[prompt_learning]\nalgorithm = "mipro"\ntask_app_url = "http://localhost:8002"\n'
    )
    path = tmp_path / "config.toml"
    path.write_text(header + block, encoding="utf-8")
    assert load_config(path, environ={}).settings.num_iterations in (10, 50)


@pytest.mark.parametrize(
    "line", [line for b in blocks("bash") for line in b.splitlines() if line.startswith("mipro-walk")]
)
def test_commands_and_options_exist(line):
    words = line.split("#")[0].split()[1:]
    command = typer.main.get_command(app)
    while hasattr(command, "commands") and words:
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_no_placeholder_is_left():
    assert "@@" not in README
    assert "being measured" not in README
