"""The start script from hostile places, with a stand-in for Python: nothing is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
BASH = shutil.which("bash") or ""

pytestmark = pytest.mark.skipif(not BASH or os.name != "posix", reason="needs bash")

FAKE_PYTHON = """#!/bin/sh
# Records each call; "makes" an environment by copying itself.
printf '%s|' "$@" >>"$FAKE_LOG"
echo >>"$FAKE_LOG"
if [ "$1 $2" = "-m venv" ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; fi
if [ "$2 $3" = "-m pip" ] || [ "$1 $2" = "-m pip" ]; then exit "${FAKE_PIP_STATUS:-0}"; fi
"""


class Checkout:
    """A copy of what the scripts need, and the calls that they made."""

    def __init__(self, folder: Path) -> None:
        self.project = folder
        (folder / "scripts").mkdir(parents=True)
        for name in ("run_interactive.sh", "environment.sh"):
            shutil.copy(PROJECT / "scripts" / name, folder / "scripts" / name)
        (folder / "run_interactive.sh").symlink_to("scripts/run_interactive.sh")
        for name in ("pyproject.toml", "constraints.txt"):
            shutil.copy(PROJECT / name, folder / name)
        self.bin = folder.parent / "bin"
        self.bin.mkdir(exist_ok=True)
        python = self.bin / "python3"
        python.write_text(FAKE_PYTHON)
        python.chmod(0o755)
        for tool in ("cat", "cksum", "grep", "dirname", "readlink", "mkdir", "cp", "rm", "sleep"):
            target = self.bin / tool
            if not target.exists():
                target.symlink_to(shutil.which(tool) or "")
        (self.bin / "sh").exists() or (self.bin / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
        self.log = folder.parent / "calls.log"

    def start(
        self, *arguments: str, script: Path | None = None, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        return subprocess.run(
            [BASH, str(script or self.project / "run_interactive.sh"), *arguments],
            env={"PATH": str(self.bin), "FAKE_LOG": str(self.log), **environment},
            cwd=cwd or "/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    @property
    def calls(self) -> str:
        return self.log.read_text()


NAMES = (
    "plain",
    "with space",
    "quote'd",
    'double"quoted',
    "dollar$(touch owned)",
    "back`touch owned`",
    "-dash",
    "ümläut",
    "star*",
    "new\nline",
)


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_from_any_folder_name_and_evaluates_nothing(tmp_path: Path, name: str) -> None:
    checkout = Checkout(tmp_path / name)
    done = checkout.start("--workdir", "a b; touch owned", "$(touch owned)", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    last = checkout.calls.splitlines()[-1]
    assert last == "-P|-m|mipro_walk|run|--workdir|a b; touch owned|$(touch owned)|"
    assert not list(tmp_path.rglob("owned"))


def test_it_finds_its_project_through_links(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "project")
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "go.sh"
    link.symlink_to("../project/run_interactive.sh")
    done = checkout.start(script=link)
    assert done.returncode == 0, done.stderr
    assert (checkout.project / ".venv" / "bin" / "python").exists()
    assert not (tmp_path / "elsewhere" / ".venv").exists()


def test_a_second_start_installs_nothing(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "project")
    assert "install" in checkout_calls(checkout)
    assert "install" not in checkout_calls(checkout)
    (checkout.project / "constraints.txt").write_text("typer==0.0\n")
    assert "install" in checkout_calls(checkout)


def test_a_moved_project_gets_a_new_environment(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "project")
    checkout.start()
    checkout.project = checkout.project.rename(tmp_path / "moved")
    assert "venv" in checkout_calls(checkout)


def test_a_failed_installation_is_said_and_tried_again_at_the_next_start(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "project")
    done = checkout.start(FAKE_PIP_STATUS="1")
    assert done.returncode == 3
    assert "Fix:" in done.stderr
    assert "install" in checkout_calls(checkout)


def test_without_a_suitable_python_it_says_so(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "project")
    (checkout.bin / "python3").unlink()
    done = checkout.start()
    assert done.returncode == 3
    assert "Python 3.11" in done.stderr


def test_nothing_of_the_environment_is_printed(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "project")
    done = checkout.start(OPENAI_API_KEY="sk-canary")
    assert "canary" not in done.stdout + done.stderr + checkout.calls


def checkout_calls(checkout: Checkout) -> str:
    done = checkout.start()
    assert done.returncode == 0, done.stderr
    return checkout.calls
