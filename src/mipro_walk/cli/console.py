"""One console for what is said (standard error), one for data (standard output), and who may be asked."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console

ColorMode = Literal["auto", "always", "never"]
COLOR_VARIABLE = "MIPRO_WALK_COLOR"
NARROW = 60
"""Columns below which tables become lines."""


def stderr_console() -> Console:
    """Return the console for talk: prompts, progress, explanations."""
    return _console(sys.stderr)


def stdout_console() -> Console:
    """Return the console for what a command is asked for."""
    return _console(sys.stdout)


def is_interactive(environ: Mapping[str, str] | None = None) -> bool:
    """Whether there is somebody to ask: a terminal on both sides, and not a CI machine."""
    found = os.environ if environ is None else environ
    return sys.stdin.isatty() and sys.stderr.isatty() and not found.get("CI")


def can_print(text: str, encoding: str) -> bool:
    """Whether all characters of ``text`` exist in ``encoding``."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def is_ascii_only(console: Console) -> bool:
    """Whether the console cannot say block and line characters."""
    return not can_print("█░─…▁", console.encoding)


def activation_hint() -> str | None:
    """Return the line that makes ``mipro-walk`` known to the user's shell, ``None`` if it is known already.

    ``run_interactive.sh`` starts us from the project's own environment, which that shell does not look into.
    """
    scripts = Path(sys.prefix) / ("Scripts" if sys.platform == "win32" else "bin")
    if shutil.which("mipro-walk") or not (scripts / "activate").is_file():
        return None
    return f"source {shlex.quote(str(scripts / 'activate'))}"


def prepare_streams() -> None:
    """Make sure that no text can fail to be printed, whatever the terminal's encoding is."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _console(stream: IO[str]) -> Console:
    from rich.console import Console

    mode = os.environ.get(COLOR_VARIABLE, "auto")
    plain = mode == "never" or (mode != "always" and bool(os.environ.get("NO_COLOR")))
    if plain:
        # Not `no_color`: that would leave bold and dim, and plain means no escape at all.
        return Console(file=stream, color_system=None, highlight=False, emoji=False, markup=False)
    force = True if mode == "always" else None
    return Console(file=stream, force_terminal=force, highlight=False, emoji=False, markup=False)
