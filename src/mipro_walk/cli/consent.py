"""Agreeing to calls that cost money, for commands that make few of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from mipro_walk.cli.console import is_interactive
from mipro_walk.cli.visible import visible
from mipro_walk.errors import ConfigError

if TYPE_CHECKING:  # pydantic is heavy; --help does without it
    from mipro_walk.config import ModelConfig


def require_consent(models: Sequence[ModelConfig], what: str, fix: str, *, yes: bool) -> None:
    """Return if ``models`` are free or somebody agreed to ``what``.

    Raises:
        ConfigError: nobody can be asked, or the answer was no.
    """
    paid = " and ".join(dict.fromkeys(f"{model.provider}/{model.model}" for model in models if not model.is_free))
    if not paid or yes:
        return
    question = f"{what} go to {visible(paid)}, which may cost money."
    if not is_interactive():
        raise ConfigError(f"{question} Nobody can be asked here.", fix)
    if not typer.confirm(f"{question} Go on?", err=True):
        raise ConfigError("Nothing was sent.", fix)
