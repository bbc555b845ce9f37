"""What can be said on the command line of ``mipro-walk init``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from mipro_walk.cli.options import JsonOption, NonInteractiveOption

KINDS = "classification, multi_label, extraction, short_answer, rating or judged"
KindName = Literal["classification", "multi_label", "extraction", "short_answer", "rating", "judged"]


@dataclass(frozen=True, slots=True)
class InitOptions:
    """The arguments and options; ``None`` means that the command line says nothing."""

    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="Your examples: .csv, .tsv, .jsonl, .parquet or .xlsx.")
    ] = None
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="The folder to make. [default: the file's name]")
    ] = None
    kind: Annotated[KindName | None, typer.Option("--kind", metavar="KIND", help=f"What an answer is: {KINDS}.")] = None
    text: Annotated[
        list[str] | None, typer.Option("--text", metavar="COLUMN", help="An input column; may come several times.")
    ] = None
    target: Annotated[
        str | None, typer.Option("--label", metavar="COLUMN", help="The column with the right answer.")
    ] = None
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="The only labels: a table label,description.")
    ] = None
    separator: Annotated[
        str | None, typer.Option("--separator", metavar="TEXT", help="Between the labels of one row (multi_label).")
    ] = None
    low: Annotated[int | None, typer.Option("--low", metavar="N", help="The lowest rating.")] = None
    high: Annotated[int | None, typer.Option("--high", metavar="N", help="The highest rating.")] = None
    split_column: Annotated[
        str | None,
        typer.Option("--split-column", metavar="COLUMN", help="Says train, val or test; '' ignores such a column."),
    ] = None
    test_share: Annotated[
        float | None,
        typer.Option("--test-share", metavar="X", min=0.05, max=0.9, help="Share of test rows. [default: 0.3]"),
    ] = None
    rng_seed: Annotated[
        int, typer.Option("--rng-seed", metavar="N", min=0, max=2**31 - 1, help="Divides the rows.")
    ] = 0
    hub: Annotated[
        str | None, typer.Option("--hub", metavar="OWNER/NAME", help="A hub data set in place of a file.")
    ] = None
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="COMMIT", help="Its revision. [default: the newest, pinned]")
    ] = None
    hub_config: Annotated[str | None, typer.Option("--hub-config", metavar="NAME", help="Its configuration.")] = None
    hub_split: Annotated[
        str | None, typer.Option("--hub-split", metavar="NAME", help="Its split to read. [default: train]")
    ] = None
    sample: Annotated[
        KindName | None, typer.Option("--sample", metavar="KIND", help="Copy the sample of a kind; needs no data.")
    ] = None
    encoding: Annotated[
        str | None, typer.Option("--encoding", metavar="NAME", help="Of a text file. [default: found out]")
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option("--delimiter", metavar="CHAR", help="Between cells of CSV. [default: found out]"),
    ] = None
    sheet: Annotated[
        str | None, typer.Option("--sheet", metavar="NAME", help="Of a workbook. [default: the first]")
    ] = None
    max_mb: Annotated[
        float | None,
        typer.Option("--max-mb", metavar="N", min=0.001, max=100_000, help="Largest file to read. [default: 100]"),
    ] = None
    description: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="What the task is, in a sentence.")
    ] = None
    instruction: Annotated[
        str | None, typer.Option("--instruction", metavar="TEXT", help="The system text to start from.")
    ] = None
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="quick-local, walkthrough, groq or production."),
    ] = None
    non_interactive: NonInteractiveOption = False
    yes: Annotated[bool, typer.Option("--yes", help="Write without a last question.")] = False
    force: Annotated[
        bool, typer.Option("--force", help="Replace a folder that is there; it is kept under another name.")
    ] = False
    as_json: JsonOption = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The input columns that were named."""
        return tuple(self.text or ())
