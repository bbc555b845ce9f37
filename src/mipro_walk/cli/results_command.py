"""``mipro-walk results``: the results of a job, from its files or from the backend."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mipro_walk.cli.console import stderr_console, stdout_console
from mipro_walk.cli.job_session import complete_job_id, open_backend
from mipro_walk.cli.train_command import AsJson, Backend, print_json
from mipro_walk.errors import ConfigError, PrerequisiteError
from mipro_walk.results import DOCUMENT_NAMES, results_in

JOB_ID = re.compile(r"pl_[0-9A-Za-z_-]{1,80}")
MAX_BYTES = 50_000_000


def results(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID|DIR]",
            help="A job id, folder of results or project; by default the newest of `run`, else the last finished job.",
            autocompletion=complete_job_id,
        ),
    ] = None,
    backend: Backend = None,
    as_json: AsJson = False,
) -> None:
    """Show what a job found: verdict, prompt, progression, cost, and how to use it.

    Example: mipro-walk results --json | jq .scores
    """
    from mipro_walk.cli.results_screen import render
    from mipro_walk.walkthrough.submit_job import describe

    documents, folder = find_documents(target, backend)
    if target is None:
        say_which(documents, folder)
    for warning in changed_files(documents, folder):
        stderr_console().print(f"WARN {warning}", soft_wrap=True)
    if as_json:
        print_json({**describe(documents), "documents": documents})
    else:
        render(documents, stdout_console(), folder=folder)


def read_documents(folder: Path) -> dict[str, Any]:
    """Return the documents in ``folder`` by file name; ``best_prompt.json`` has to be there.

    Raises:
        ConfigError: it is missing, or a file is not one of ours.
        PrerequisiteError: a file cannot be read.
    """
    found = {name: _read(folder / name) for name in DOCUMENT_NAMES if (folder / name).exists()}
    if "best_prompt.json" not in found:
        raise ConfigError(f"There is no best_prompt.json in {folder}.", "Run `mipro-walk train`, or name a job id.")
    return found


def find_documents(target: str | None, backend: str | None) -> tuple[dict[str, Any], Path | None]:
    """Return a job's documents by file name, and the folder where they lie, if they do.

    Args:
        target: a job id, a folder or a file in it; ``None``: the newest results in a work folder of ``run``, else the
            last finished job.
        backend: another backend's address.

    Raises:
        MiproWalkError: there are none, or they cannot be read.
    """
    if target is not None and not JOB_ID.fullmatch(target):
        path = Path(target).expanduser().absolute()
        given = path.parent if path.name in DOCUMENT_NAMES else results_in(path)
        return read_documents(given), given
    if target is None and backend is None:
        usual = _newest_of_the_work_folders()
        if usual is not None:
            return read_documents(usual), usual
    with open_backend(backend) as opened:
        job_id = target or last_finished(opened.client.jobs())
        folder_name = (opened.client.status(job_id).get("launch") or {}).get("results_folder")
        documents = opened.client.results(job_id)
    folder = Path(folder_name) if isinstance(folder_name, str) else None
    return documents, folder if folder is not None and (folder / "best_prompt.json").exists() else None


def say_which(documents: Mapping[str, Any], folder: Path | None) -> None:
    """Say on standard error whose results these are, where nobody named a job."""
    from mipro_walk.cli.visible import visible

    console = stderr_console()
    job = (documents.get("job_metadata.json") or {}).get("job_id") or "unknown"
    where = "" if folder is None else f" in {folder}"
    text = f"Results of job {job}{where}. For another one give its id: mipro-walk jobs"
    console.print(visible(text, console.encoding), soft_wrap=True, highlight=False, markup=False)


def _newest_of_the_work_folders() -> Path | None:
    """Return the results that ``run`` wrote last, of whichever algorithm; ``None`` if there are none."""
    from mipro_walk.paths import Workdir

    found = {}
    for algorithm in ("mipro", "gepa"):
        workdir = Workdir(Workdir.default_path(algorithm))
        with contextlib.suppress(OSError):
            found[(workdir.results / "best_prompt.json").stat().st_mtime_ns] = workdir
    if not found:
        return None
    newest = found[max(found)]
    return Workdir.open(newest.path).results  # somebody else's folder in a shared temp folder is refused here


def last_finished(jobs: list[dict[str, Any]]) -> str:
    """Return the id of the newest job that ended well. Raises ConfigError if there is none."""
    for job in jobs:
        if job["status"] in ("succeeded", "completed"):
            return str(job["job_id"])
    raise ConfigError("There are no results yet.", "Run `mipro-walk run`, or `mipro-walk train CONFIG`.")


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is not a result file.", "Name the folder that holds best_prompt.json.")
        document = json.loads(path.read_bytes())
    except OSError as exc:
        raise PrerequisiteError(f"{path} cannot be read: {exc.strerror or exc}.", "Check who may read it.") from exc
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path} is damaged: it is not JSON.", "Make it again: mipro-walk results ID") from exc
    kind = document.get("kind") if isinstance(document, dict) else None
    if not isinstance(document, dict) or kind != f"mipro_walk.{path.stem}" or document.get("schema_version") != 1:
        raise ConfigError(f"{path} is not a {path.name} of this program.", "Make it again: mipro-walk results ID")
    return document


def changed_files(documents: dict[str, Any], folder: Path | None) -> list[str]:
    """Return a warning for each file whose bytes are not the ones that were written."""
    checksums = documents.get("job_metadata.json", {}).get("files") or {}
    if folder is None:
        return []
    warnings = []
    for name, expected in checksums.items():
        path = folder / name
        if name in DOCUMENT_NAMES and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            warnings.append(f"{path} was changed after it was written.")
    return warnings
