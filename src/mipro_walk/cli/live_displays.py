"""The ways to show a running job: rich (a live panel), plain (lines), log (JSON lines), none."""

from __future__ import annotations

from rich.console import Console

from mipro_walk.cli.line_displays import Display, LogDisplay, PlainDisplay
from mipro_walk.cli.live_panel import RichDisplay
from mipro_walk.errors import ConfigError

DISPLAYS: dict[str, type[Display]] = {"rich": RichDisplay, "plain": PlainDisplay, "log": LogDisplay, "none": Display}


def make_display(name: str, console: Console, job_id: str) -> Display:
    """Return a display by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in DISPLAYS:
        raise ConfigError(f"There is no display {name!r}.", f"Use one of: {', '.join(DISPLAYS)}.")
    return DISPLAYS[name](console, job_id)
