"""Reads a data file into rows of text that know their row numbers, whatever the format."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

from mipro_walk.errors import ConfigError
from mipro_walk.project.decoding import decode
from mipro_walk.project.delimited import read_delimited
from mipro_walk.project.records import read_json, read_parquet
from mipro_walk.project.rows import Table, did_you_mean
from mipro_walk.project.workbook import read_workbook

MAX_MB = 100
"""Default size limit. A search looks at a few thousand rows, so more is usually a mistake; ``max_mb`` lifts it."""
FORMATS = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
}
SIGNATURES = ((b"PAR1", "parquet", "a Parquet file"), (b"PK\x03\x04", "xlsx", "an Excel workbook or ZIP archive"))
FOREIGN = {
    ".xls": ("an old Excel workbook", "Save it as .xlsx or CSV."),
    ".ods": ("a LibreOffice table", "Save it as .xlsx or CSV."),
    ".gz": ("compressed", "Unpack it first."),
    ".zip": ("an archive", "Unpack it and name the file inside."),
    ".bz2": ("compressed", "Unpack it first."),
    ".zst": ("compressed", "Unpack it first."),
    ".pdf": ("a PDF file", "Make a table of it first: one row for each example."),
    ".docx": ("a Word document", "Make a table of it first: one row for each example."),
}


def read_table(
    path: str | os.PathLike[str],
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    sheet: str | None = None,
    max_mb: float = MAX_MB,
) -> Table:
    """Return the rows of a CSV, TSV, JSON lines, JSON, Parquet or Excel file.

    Args:
        encoding: of a text file; ``None`` finds out and says so where it was a guess.
        delimiter: of CSV; ``None`` finds out.
        sheet: of a workbook; ``None`` is the first one.
        max_mb: larger files are refused before they are read.

    Raises:
        ConfigError: it cannot be read; the message names file and row or line, and what to do.
    """
    path = Path(path)
    data = _read_file(path, max_mb)
    kind = _format(path, data)
    if kind == "xlsx":
        return read_workbook(path, sheet=sheet, max_bytes=int(max_mb * 1e6))
    if sheet is not None:
        raise ConfigError(f"{path.name} has no sheets, it is no workbook.", "Leave --sheet out.")
    if kind == "parquet":
        return read_parquet(path)
    decoded = decode(data, path.name, encoding)
    del data
    if kind in ("jsonl", "json"):
        table = read_json(decoded.text, path.name, as_lines=kind == "jsonl", encoding=decoded.encoding)
    else:
        chosen = delimiter or ("\t" if kind == "tsv" else None)
        table = read_delimited(decoded.text, path.name, delimiter=chosen, encoding=decoded.encoding)
    return replace(table, findings=(*decoded.findings, *table.findings))


def _format(path: Path, data: bytes) -> str:
    suffix = path.suffix.lower()
    if suffix in FOREIGN:
        what, fix = FOREIGN[suffix]
        raise ConfigError(f"{path.name} is {what}.", fix)
    kind = FORMATS.get(suffix)
    for signature, found, what in SIGNATURES:
        if data.startswith(signature) and kind != found:
            raise ConfigError(f"{path.name} is {what}, whatever its name says.", f"Rename it to {path.stem}.{found}.")
    if kind is None:
        known = ", ".join(suffix for suffix in FORMATS if suffix not in (".tab", ".pq", ".ndjson"))
        raise ConfigError(f"{path.name} has no known format.", f"Give one of {known}.")
    return kind


def _read_file(path: Path, max_mb: float) -> bytes:
    try:
        # Without O_NONBLOCK opening a FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise ConfigError(f"There is no file {str(path)!r}.{_near(path)}", "Check the path.") from None
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a file name"
        raise ConfigError(f"Cannot read {str(path)!r}: {reason}.", "Name a file that you may read.") from None
    try:
        _require_readable(path, os.fstat(descriptor), max_mb)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _require_readable(path: Path, found: os.stat_result, max_mb: float) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{str(path)!r} is a folder.", "Name the data file in it.")
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{str(path)!r} is not a regular file.", "Name a data file.")
    if found.st_size == 0:
        raise ConfigError(f"{path.name} is empty.", "Give it a header row and at least three rows below.")
    if found.st_size > max_mb * 1e6:
        raise ConfigError(
            f"{path.name} has {found.st_size / 1e6:,.0f} MB; more than {max_mb:g} MB are not read unasked.",
            f"A few thousand rows are enough for a search: give a part of it, or pass --max-mb "
            f"{int(found.st_size / 1e6) + 1} (it takes several times that in memory).",
        )


def _near(path: Path) -> str:
    try:
        names = [entry.name for entry in path.absolute().parent.iterdir()][:1000]
    except OSError:
        return ""
    return did_you_mean(path.name, names)
