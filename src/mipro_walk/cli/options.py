"""Options that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

WorkdirOption = Annotated[
    Path | None,
    typer.Option("--workdir", metavar="DIR", help="The work folder; by default mipro_walkthrough in the temp folder."),
]
BackendOption = Annotated[
    str | None, typer.Option("--backend", metavar="URL", help="Use this backend instead of a local one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write one JSON object to standard output.")]
DataOption = Annotated[
    str | None, typer.Option("--data", metavar="sample|hub|PATH", help="Where the rows come from. [default: sample]")
]
ModelPathOption = Annotated[
    Path | None, typer.Option("--model-path", metavar="FILE", help="A GGUF file of your own for the local model.")
]


def print_json(document: dict[str, Any]) -> None:
    """Write one JSON object to standard output; in ASCII, so that nothing in it acts on a terminal."""
    typer.echo(json.dumps({"schema_version": 1, **document}, indent=2))
