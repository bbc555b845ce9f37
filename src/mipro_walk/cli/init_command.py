"""``mipro-walk init``: from a file of examples to a project folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mipro_walk.cli.console import is_interactive, stderr_console
from mipro_walk.cli.init_options import InitOptions, KindName
from mipro_walk.cli.options import print_json, takes
from mipro_walk.errors import ConfigError

if TYPE_CHECKING:
    from mipro_walk.walkthrough.ui import Ui

STOPPED = 130


@takes(InitOptions)
def init(options: InitOptions) -> None:
    """Make a project of your own from a file of examples.

    Reads the file, guesses what is text, what is answer and what kind of task it is, checks every row, divides the
    rows, and writes a folder that you can edit by hand. Nothing is dropped without being counted and listed.

    \b
    Examples:
      mipro-walk init tickets.csv
      mipro-walk init tickets.csv --text subject --text body --label team
      mipro-walk init reviews.xlsx --kind rating --low 1 --high 5 --json
      mipro-walk init --sample extraction --folder notes
    """
    if sum(source is not None for source in (options.data, options.hub, options.sample)) > 1:
        raise ConfigError("DATA, --hub and --sample exclude each other.", "Name one source.")
    if options.sample is not None:
        _copy_sample(options.sample, options)
    else:
        _make_project(options)


def _make_project(options: InitOptions) -> None:
    from mipro_walk.cli.init_session import run_init
    from mipro_walk.cli.ui import TerminalUi
    from mipro_walk.walkthrough.ui import QuitRequested

    ui = TerminalUi(stderr_console(), is_interactive=is_interactive() and not options.non_interactive)
    try:
        created = run_init(options, ui, dict(os.environ))
    except QuitRequested:
        ui.say("Stopped; nothing was written.")
        raise typer.Exit(STOPPED) from None
    _report(ui, created.new.folder, created.files)
    if options.as_json:
        print_json(created.as_dict())


def _copy_sample(kind: KindName, options: InitOptions) -> None:
    from mipro_walk.cli.ui import TerminalUi
    from mipro_walk.project.creating import copy_sample

    folder = options.folder or Path(f"{kind}-sample")
    files = copy_sample(kind, folder, force=options.force)
    _report(TerminalUi(stderr_console(), is_interactive=False), folder, files)
    if options.as_json:
        print_json({"folder": str(folder.absolute()), "kind": kind, "files": files})


def _report(ui: Ui, folder: Path, files: Sequence[str]) -> None:
    ui.done(f"Project written: {folder.absolute()}")
    ui.fields([("files", ", ".join(files))])
    ui.say("Next:")
    ui.fields(
        [
            ("check", f"mipro-walk config check {folder}"),
            ("search", f"mipro-walk optimize {folder}"),
        ]
    )
