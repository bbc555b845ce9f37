"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Options = TypeVar("Options", bound="DataclassInstance")

WorkdirOption = Annotated[
    Path | None,
    typer.Option("--workdir", metavar="DIR", help="The work folder; by default mipro_walkthrough in the temp folder."),
]
BackendOption = Annotated[
    str | None, typer.Option("--backend", metavar="URL", help="Use this backend instead of a local one.")
]
NonInteractiveOption = Annotated[
    bool, typer.Option("--non-interactive", help="Ask nothing; every question takes its default.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write one JSON object to standard output.")]
DataOption = Annotated[
    str | None, typer.Option("--data", metavar="sample|hub|PATH", help="Where the rows come from. [default: sample]")
]
ModelPathOption = Annotated[
    Path | None, typer.Option("--model-path", metavar="FILE", help="A GGUF file of your own for the local model.")
]


def takes(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Make a command of a function that takes one dataclass: each field is an argument or option of the command.

    So a command with many options declares each of them once, and they travel as one value.
    """
    hints = get_type_hints(options, include_extras=True)
    parameters = [
        Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name]) for f in fields(options)
    ]

    def decorate(function: Callable[[Options], None]) -> Callable[..., None]:
        @wraps(function)
        def command(**values: Any) -> None:
            function(options(**values))

        # What Typer reads, in place of the one parameter of ``function``.
        command.__dict__["__signature__"] = Signature(parameters)
        command.__annotations__ = hints
        return command

    return decorate


def print_json(document: dict[str, Any]) -> None:
    """Write one JSON object to standard output; in ASCII, so that nothing in it acts on a terminal."""
    typer.echo(json.dumps({"schema_version": 1, **document}, indent=2))
