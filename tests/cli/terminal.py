"""The program as tests start it: without a terminal, or in one (under pexpect, its screen under pyte)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pyte

PROJECT = Path(__file__).resolve().parents[2]
KEPT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment without keys, CI or colour settings, with its own data folder."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    path = os.pathsep.join([str(PROJECT / "src"), str(PROJECT)])
    defaults = {"PYTHONPATH": path, "PYTHONUTF8": "1", "MIPRO_WALK_HOME": str(home), "HOME": str(home.parent)}
    return {**kept, **defaults, "TERM": "xterm-256color", **more}


def run_command(
    *arguments: object, env: dict[str, str], cwd: str | Path = "/", code: int | None = None, seconds: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run ``mipro-walk ARGUMENTS`` without a terminal; ``code`` is the exit code that it must have."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mipro_walk", *map(str, arguments)],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert code is None or done.returncode == code, done.stderr
    return done


class Terminal:
    """``mipro-walk ARGUMENTS`` in a terminal of ``columns`` columns."""

    def __init__(self, arguments: list[str], environment: dict[str, str], columns: int = 80) -> None:
        self.raw = ""
        self.screen = pyte.HistoryScreen(columns, 200)
        self._stream = pyte.Stream(self.screen)
        self.child = pexpect.spawn(
            sys.executable,
            ["-P", "-m", "mipro_walk", *arguments],
            env=environment,
            dimensions=(200, columns),
            encoding="utf-8",
            timeout=30,
            cwd="/",
        )

    def wait_for(self, text: str, seconds: float = 30.0) -> None:
        """Wait until ``text`` stands on the screen."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < deadline, f"{text!r} did not come; the screen is:\n{self.text}"
            if not self._read():
                assert text in self.text, f"{text!r} did not come before the end; the screen is:\n{self.text}"

    def answer(self, text: str) -> None:
        """Type a line into an emptied screen, so that later waits see later text only."""
        self.screen.reset()
        self.child.sendline(text)

    def end(self, seconds: float = 30.0) -> int:
        """Wait for the end of the program and return its exit code (128 + signal if one killed it)."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, f"it did not end; the screen is:\n{self.text}"
        self.child.wait()
        self.child.close()
        status, number = self.child.exitstatus, self.child.signalstatus
        return status if status is not None else 128 + int(number or 0)

    @property
    def text(self) -> str:
        """What stands on the screen, without trailing blanks."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def _read(self) -> bool:
        try:
            data = self.child.read_nonblocking(65536, timeout=0.2)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True
