"""``mipro-walk version``: this program and what it stands on."""

from __future__ import annotations

import importlib.metadata
import platform
import sqlite3

import typer

from mipro_walk.cli.options import JsonOption, print_json
from mipro_walk.version import VERSION

PACKAGES = ("typer", "rich", "httpx", "optuna", "fastapi", "uvicorn", "openai", "datasets", "SQLAlchemy", "xllamacpp")


def version(as_json: JsonOption = False) -> None:
    """Print the versions of mipro-walk, Python and the packages that matter.

    Example: mipro-walk version --json
    """
    if as_json:
        packages = {name: _installed(name) for name in PACKAGES}
        python, system = platform.python_version(), platform.platform()
        print_json(
            {
                "version": VERSION,
                "python": python,
                "platform": system,
                "sqlite": sqlite3.sqlite_version,
                "packages": packages,
            }
        )
    else:
        typer.echo(f"mipro-walk {VERSION} (Python {platform.python_version()})")


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
