"""``mipro-walk export``: what a job found, as a file for another tool."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mipro_walk.cli.console import stderr_console
from mipro_walk.cli.job_session import complete_job_id
from mipro_walk.cli.results_command import JOB_ID, changed_files, find_documents, say_which
from mipro_walk.cli.train_command import Backend
from mipro_walk.errors import ConfigError
from mipro_walk.exports.names import FormatName, PromptChoice

if TYPE_CHECKING:
    from mipro_walk.exports.source import ExportSource, Recorded

STDOUT = "-"


def export(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID|DIR]",
            help="A job id, folder of results or project; by default the newest of `run`, else the last finished job.",
            autocompletion=complete_job_id,
        ),
    ] = None,
    format_name: Annotated[
        FormatName,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME",
            help="openai, python, dspy, langchain, promptfoo, text, markdown, rollouts or optuna.",
        ),
    ] = "openai",
    output: Annotated[str, typer.Option("--output", "-o", metavar="PATH", help="The file; - is stdout.")] = STDOUT,
    prompt: Annotated[
        PromptChoice, typer.Option("--prompt", metavar="WHICH", help="recommended, winner or baseline.")
    ] = "recommended",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    backend: Backend = None,
) -> None:
    """Write a job's prompt or its rollouts for another tool. No export holds a key.

    Example: mipro-walk export --format python --output classify.py
    """
    from mipro_walk.exports.formats import FORMATS

    text = FORMATS[format_name].make(_source(target, backend, prompt))
    if output == STDOUT:
        _print(text)
    else:
        _write(Path(output).expanduser().absolute(), text.encode("utf-8", "replace"), force=force)


def _source(target: str | None, backend: str | None, prompt: PromptChoice) -> ExportSource:
    """Return the job: its documents from wherever ``results`` finds them, its recordings if they are here."""
    from mipro_walk.exports.source import ExportSource
    from mipro_walk.results import JOB_METADATA

    documents, recorded = (
        _from_ledger(target) if backend is None and target and JOB_ID.fullmatch(target) else ({}, None)
    )
    if not documents:
        documents, folder = find_documents(target, backend)
        if target is None:
            say_which(documents, folder)
        for warning in changed_files(documents, folder):
            stderr_console().print(f"WARN {warning}", soft_wrap=True)
        if backend is None and (job_id := documents.get(JOB_METADATA, {}).get("job_id")):
            recorded = _from_ledger(str(job_id))[1]
    return ExportSource(documents, prompt, recorded)


def _from_ledger(job_id: str) -> tuple[Mapping[str, Any], Recorded | None]:
    """Return a job's documents and recordings from this machine's ledger; nothing if that does not hold the job."""
    from mipro_walk.paths import home

    path = home() / "ledger.sqlite3"
    url = os.environ.get("MIPRO_WALK_LEDGER_URL", "")
    if not url and not path.exists():
        return {}, None
    from mipro_walk.exports.recorded import read_recorded
    from mipro_walk.ledger import Ledger

    ledger = Ledger(url or f"sqlite:///{path}")
    try:
        job = ledger.job(job_id)
        if job is None:
            return {}, None
        if (documents := ledger.documents(job_id)) is None:
            raise ConfigError(
                f"The job {job_id} has no results: it is {job.status}.", f"See it through: mipro-walk resume {job_id}"
            )
        return documents, read_recorded(ledger, job_id)
    finally:
        ledger.close()


def _print(text: str) -> None:
    """Write the bytes as they are: a locale that cannot say them must not change an export."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


def _write(path: Path, data: bytes, *, force: bool) -> None:
    from mipro_walk.paths import create_private, write_private

    if path.is_dir():
        raise ConfigError(f"{path} is a folder.", "Name a file with --output.")
    if not path.parent.is_dir():
        raise ConfigError(f"There is no folder {path.parent}.", "Make it, or name another file with --output.")
    try:
        (write_private if force else create_private)(path, data)
    except FileExistsError as exc:
        raise ConfigError(f"{path} exists.", "Name another file, or replace it with --force.") from exc
    stderr_console().print(f"Wrote {path}", soft_wrap=True, highlight=False)
