"""``mipro-walk report``: the results of a job as one page to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mipro_walk.cli.console import stderr_console
from mipro_walk.cli.job_session import JobBackend, complete_job_id, open_backend
from mipro_walk.cli.results_command import JOB_ID, last_finished, read_documents
from mipro_walk.cli.train_command import Backend
from mipro_walk.errors import ConfigError, IncompleteError, MiproWalkError
from mipro_walk.results import DOCUMENT_NAMES, JOB_METADATA, REPORT, results_in

Documents = Mapping[str, Mapping[str, Any]]


def report(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID|DIR]",
            help="A job id, folder of results or project; by default the last finished job.",
            autocompletion=complete_job_id,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where it goes; by default beside the result files."),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser, if there is a screen.")] = False,
    backend: Backend = None,
) -> None:
    """Write the results as one HTML page that needs no network, and print its path.

    Example: mipro-walk report --open
    """
    from mipro_walk.cli.browser import can_open, open_page
    from mipro_walk.report.files import write_report

    documents, beside = _find(target, backend)
    path = _chosen(output) if output is not None else (beside or Path.cwd()) / _name(documents, beside)
    write_report(path, documents)
    typer.echo(str(path))
    if open_it and not (can_open() and open_page(path.as_uri())):
        stderr_console().print("Not opened: there is no screen here (CI, SSH, no display, no browser).")


def _find(target: str | None, backend: str | None) -> tuple[Documents, Path | None]:
    """Return the documents, and the folder that holds the files of the same run."""
    if target is not None and not JOB_ID.fullmatch(target):
        path = Path(target).expanduser().absolute()
        folder = path.parent if path.name in (*DOCUMENT_NAMES, REPORT) else results_in(path)
        return read_documents(folder), folder
    with open_backend(backend) as opened:
        return _of_job(opened, target or last_finished(opened.client.jobs()))


def _of_job(opened: JobBackend, job_id: str) -> tuple[Documents, Path | None]:
    from mipro_walk.walkthrough.submit_job import UNFINISHED

    status = opened.client.status(job_id)
    state = status["status"]
    if state in UNFINISHED:
        raise IncompleteError(f"Job {job_id} is {state}: it has no results yet.", f"mipro-walk resume {job_id}")
    try:
        documents = opened.client.results(job_id)
    except MiproWalkError as exc:
        raise MiproWalkError(f"Job {job_id} ended as {state} without results.", "See `mipro-walk jobs`.") from exc
    folder = (status.get("launch") or {}).get("results_folder")
    is_its_own = isinstance(folder, str) and _job_of(Path(folder)) == job_id
    return documents, Path(folder) if isinstance(folder, str) and is_its_own else None


def _job_of(folder: Path) -> str | None:
    """Return the job whose files lie in a folder: a later one may have written there."""
    try:
        found = json.loads((folder / JOB_METADATA).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found.get("job_id") if isinstance(found, dict) else None


def _name(documents: Documents, beside: Path | None) -> str:
    job_id = (documents.get(JOB_METADATA) or {}).get("job_id")
    is_named = beside is None and isinstance(job_id, str) and JOB_ID.fullmatch(job_id)
    return f"report-{job_id}.html" if is_named else REPORT


def _chosen(output: Path) -> Path:
    path = output.expanduser().absolute()
    if path.is_dir():
        return path / REPORT
    if not path.parent.is_dir():
        raise ConfigError(f"The folder {path.parent} does not exist.", "Make it, or choose another --output.")
    return path
