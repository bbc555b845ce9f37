"""Asking a person whether a host may see a key, where a configuration names one that nobody has confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mipro_walk.cli.console import is_interactive
from mipro_walk.cli.visible import visible
from mipro_walk.errors import ConfigError

if TYPE_CHECKING:  # pydantic is heavy; --help does without it
    from mipro_walk.config import RunConfig


def load_asking(path: Path) -> RunConfig:
    """Load a configuration; ask about hosts that are not confirmed, if there is somebody to ask.

    Raises:
        ConfigError: it cannot be used, or a host was not confirmed.
    """
    from mipro_walk.config import UntrustedHostError, load_config
    from mipro_walk.config.trust import confirm
    from mipro_walk.paths import home

    try:
        return load_config(path)
    except UntrustedHostError as exc:
        if not is_interactive():
            raise
        ask_to_trust(list(dict.fromkeys(exc.pairs)))
        for url, variable in exc.pairs:
            confirm(url, variable, home())
    return load_config(path)


def ask_to_trust(pairs: Sequence[tuple[str, str]], *, yes: bool = False) -> None:
    """Raise ConfigError unless a person agrees to each address and key variable."""
    for url, variable in pairs:
        question = f"Prompts, and the key in {visible(variable)} if it is set, will be sent to {visible(url)}."
        if yes:
            continue
        if not is_interactive():
            raise ConfigError(f"{question} Nobody can be asked here.", "Pass --yes if you trust that host.")
        if not typer.confirm(f"{question} Do you trust that host?", default=False, err=True):
            raise ConfigError(f"{visible(url)} is not trusted.", "Take the address out of the configuration.")
