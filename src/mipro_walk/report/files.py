"""Writing what a finished job leaves: the JSON documents first, then the report made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipro_walk.errors import MiproWalkError
from mipro_walk.paths import write_private
from mipro_walk.report.page import render_report
from mipro_walk.results import REPORT, add_checksum, write_documents


@dataclass(frozen=True, slots=True)
class Written:
    """What was written. ``problem`` says why there is no report; the documents are there in any case."""

    files: tuple[Path, ...]
    problem: str = ""


def write_results(folder: Path, documents: Mapping[str, Mapping[str, Any]]) -> Written:
    """Write the documents and the report beside them, with the report's SHA-256 in ``job_metadata.json``.

    Raises:
        PrerequisiteError: the documents cannot be written. A report that cannot be made or written raises nothing.
    """
    files = tuple(write_documents(folder, documents))
    try:
        page = render_report(documents).encode("utf-8")
        write_private(folder / REPORT, page)
        add_checksum(folder, documents, REPORT, page)
    except MiproWalkError as exc:
        return Written(files, exc.message)
    except Exception as exc:  # the results are paid for; a mistake of ours in the view must not hide them
        return Written(files, f"unexpected {type(exc).__name__}: {exc}")
    return Written((*files, folder / REPORT))


def write_report(path: Path, documents: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the report alone, whole or not at all, for the owner only.

    Raises:
        MiproWalkError: it cannot be made or written.
    """
    write_private(path, render_report(documents).encode("utf-8"))
