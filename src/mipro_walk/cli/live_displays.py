"""The ways to show a running job: rich (a live panel), plain (lines), log (JSON lines), none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

from rich.console import Console

from mipro_walk.cli.console import NARROW as NARROW
from mipro_walk.cli.console import is_ascii_only as is_ascii_only
from mipro_walk.cli.line_displays import LogDisplay, NoDisplay, PlainDisplay
from mipro_walk.cli.live_panel import RichDisplay
from mipro_walk.cli.progress_words import cost_in_words as cost_in_words
from mipro_walk.cli.progress_words import duration as duration
from mipro_walk.errors import ConfigError

# The aliases above are for the results screen, which still asks for these names here.

DISPLAYS = ("rich", "plain", "log", "none")


class Display(Protocol):
    """Shows one job. Used as a context manager; the terminal is in order again when it is left."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def event(self, event: Mapping[str, Any], now: float) -> None:
        """Show an event. ``now`` is monotonic, in seconds."""
        ...

    def remember(self, event: Mapping[str, Any]) -> None:
        """Take an event that was shown in an earlier session."""
        ...

    def status(self, status: Mapping[str, Any]) -> None:
        """Take a new status document."""
        ...

    def tick(self, now: float) -> None:
        """Be alive: called at least once a second."""
        ...

    def say(self, message: str) -> None:
        """Say something of the watcher itself."""
        ...

    def finish(self, status: Mapping[str, Any]) -> None:
        """Leave the static summary."""
        ...


def make_display(name: str, console: Console, job_id: str) -> Display:
    """Return a display by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name == "rich":
        return RichDisplay(console, job_id)
    if name == "plain":
        return PlainDisplay(console, job_id)
    if name == "log":
        return LogDisplay(console, job_id)
    if name == "none":
        return NoDisplay(console, job_id)
    raise ConfigError(f"There is no display {name!r}.", f"Use one of: {', '.join(DISPLAYS)}.")
