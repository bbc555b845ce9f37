"""``mipro-walk paths``: where everything is kept."""

from __future__ import annotations

import typer

from mipro_walk.cli.options import JsonOption, WorkdirOption, print_json


def paths(workdir: WorkdirOption = None, as_json: JsonOption = False) -> None:
    """Print the folders and files that mipro-walk uses. Nothing is written anywhere else.

    Example: mipro-walk paths --json
    """
    from mipro_walk.paths import Workdir, home

    folder = Workdir((workdir or Workdir.default_path()).expanduser().absolute())
    data = home()
    found = {
        "workdir": folder.path,
        "env_key": folder.env_key,
        "config": folder.config,
        "task_app_log": folder.task_app_log,
        "results": folder.results,
        "data": data,
        "ledger": data / "ledger.sqlite3",
        "models": data / "models",
        "run": data / "run",
        "backend_key": data / "backend_key.txt",
        "backend_log": data / "backend.log",
    }
    if as_json:
        print_json({name: str(path) for name, path in found.items()})
    else:
        for name, path in found.items():
            typer.echo(f"{name:<13} {path}")
