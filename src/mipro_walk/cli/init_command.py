"""``mipro-walk init``: from a file of examples to a project folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mipro_walk.cli.console import is_interactive, stderr_console
from mipro_walk.cli.options import JsonOption, print_json

if TYPE_CHECKING:
    from mipro_walk.walkthrough.ui import Ui

STOPPED = 130
KINDS = "classification, multi_label, extraction, short_answer, rating or judged"
KindName = Literal["classification", "multi_label", "extraction", "short_answer", "rating", "judged"]


def init(
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="Your examples: .csv, .tsv, .jsonl, .parquet or .xlsx.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="The folder to make. [default: the file's name]")
    ] = None,
    kind: Annotated[
        KindName | None, typer.Option("--kind", metavar="KIND", help=f"What an answer is: {KINDS}.")
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", metavar="COLUMN", help="An input column; may come several times.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="COLUMN", help="The column with the right answer.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="The only labels: a table label,description.")
    ] = None,
    separator: Annotated[
        str | None, typer.Option("--separator", metavar="TEXT", help="Between the labels of one row (multi_label).")
    ] = None,
    low: Annotated[int | None, typer.Option("--low", metavar="N", help="The lowest rating.")] = None,
    high: Annotated[int | None, typer.Option("--high", metavar="N", help="The highest rating.")] = None,
    split_column: Annotated[
        str | None,
        typer.Option("--split-column", metavar="COLUMN", help="Says train, val or test; '' ignores such a column."),
    ] = None,
    test_share: Annotated[
        float | None,
        typer.Option("--test-share", metavar="X", min=0.05, max=0.9, help="Share of test rows. [default: 0.3]"),
    ] = None,
    rng_seed: Annotated[
        int, typer.Option("--rng-seed", metavar="N", min=0, max=2**31 - 1, help="Divides the rows.")
    ] = 0,
    hub: Annotated[
        str | None, typer.Option("--hub", metavar="OWNER/NAME", help="A hub data set in place of a file.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="COMMIT", help="Its revision. [default: the newest, pinned]")
    ] = None,
    hub_config: Annotated[str | None, typer.Option("--hub-config", metavar="NAME", help="Its configuration.")] = None,
    hub_split: Annotated[
        str | None, typer.Option("--hub-split", metavar="NAME", help="Its split to read. [default: train]")
    ] = None,
    sample: Annotated[
        KindName | None, typer.Option("--sample", metavar="KIND", help="Copy the sample of a kind; needs no data.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", metavar="NAME", help="Of a text file. [default: found out]")
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option("--delimiter", metavar="CHAR", help="Between cells of CSV. [default: found out]"),
    ] = None,
    sheet: Annotated[
        str | None, typer.Option("--sheet", metavar="NAME", help="Of a workbook. [default: the first]")
    ] = None,
    max_mb: Annotated[
        float | None,
        typer.Option("--max-mb", metavar="N", min=0.001, max=100_000, help="Largest file to read. [default: 100]"),
    ] = None,
    description: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="What the task is, in a sentence.")
    ] = None,
    instruction: Annotated[
        str | None, typer.Option("--instruction", metavar="TEXT", help="The system text to start from.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="quick-local, walkthrough, groq or production."),
    ] = None,
    non_interactive: Annotated[
        bool, typer.Option("--non-interactive", help="Ask nothing; every question takes its default.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Write without a last question.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a folder that is there; it is kept under another name.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
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
    from mipro_walk.cli.init_questions import InitOptions
    from mipro_walk.cli.init_session import run_init
    from mipro_walk.cli.ui import TerminalUi
    from mipro_walk.errors import ConfigError
    from mipro_walk.walkthrough.ui import QuitRequested

    if sum(source is not None for source in (data, hub, sample)) > 1:
        raise ConfigError("DATA, --hub and --sample exclude each other.", "Name one source.")
    if sample is not None:
        _copy_sample(sample, folder or Path(f"{sample}-sample"), force=force, as_json=as_json)
        return
    options = InitOptions(
        data=data,
        folder=folder,
        kind=kind,
        columns=tuple(text or ()),
        target=label,
        labels=labels,
        separator=separator,
        low=low,
        high=high,
        split_column=split_column,
        test_share=test_share,
        rng_seed=rng_seed,
        hub=hub,
        revision=revision,
        hub_config=hub_config,
        hub_split=hub_split,
        encoding=encoding,
        delimiter=delimiter,
        sheet=sheet,
        max_mb=max_mb,
        description=description,
        instruction=instruction,
        profile=profile,
        yes=yes,
        force=force,
    )
    ui = TerminalUi(stderr_console(), is_interactive=is_interactive() and not non_interactive)
    try:
        created = run_init(options, ui, dict(os.environ))
    except QuitRequested:
        ui.say("Stopped; nothing was written.")
        raise typer.Exit(STOPPED) from None
    _report(ui, created.new.folder, created.files)
    if as_json:
        print_json(created.as_dict())


def _copy_sample(kind: KindName, folder: Path, *, force: bool, as_json: bool) -> None:
    from mipro_walk.cli.ui import TerminalUi
    from mipro_walk.project.creating import copy_sample

    files = copy_sample(kind, folder, force=force)
    _report(TerminalUi(stderr_console(), is_interactive=False), folder, files)
    if as_json:
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
