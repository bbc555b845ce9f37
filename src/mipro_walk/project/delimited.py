"""CSV, TSV and their relatives: which character divides cells, what each record holds, what is wrong with it."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError
from mipro_walk.project.rows import Dropped, Finding, Row, Table, in_words, shown

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SAMPLE_CHARS = 64_000
SAMPLE_RECORDS = 50
MAX_CELL_CHARS = 1_000_000
FAULTY_SHARE = 0.5
"""With more faulty rows than this the file was misread as a whole, and rows are the wrong thing to blame."""
SPREADSHEET_MARK = "sep="
STRAY_QUOTE = 'has text after a closing quote; write quotes inside a cell twice ("")'


@dataclass
class _Reading:
    """Records on their way."""

    header: list[str] = field(default_factory=list)
    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    blank: list[int] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    unclosed: int | None = None
    n_quote_faults: int = 0


def read_delimited(text: str, name: str, *, delimiter: str | None = None, encoding: str = "utf-8") -> Table:
    """Return the table in ``text``; the first record that is not blank is the header.

    Args:
        delimiter: what divides cells; ``None`` finds out.

    Raises:
        ConfigError: no header, no rows, a column name twice, a quote that is never closed, or mostly faulty rows.
    """
    first, text = _without_spreadsheet_mark(text)
    delimiter = delimiter or (first or find_delimiter(text))
    findings: list[Finding] = []
    number = 2 if first else 1
    reading = _read(text, name, delimiter, number)
    if delimiter == "\t" and (reading.unclosed or reading.n_quote_faults):
        plain = _read(text, name, delimiter, number, quoting=csv.QUOTE_NONE)
        if len(plain.dropped) <= len(reading.dropped):
            reading = plain
            said = 'Quotes (") are read as ordinary characters: taken as quoting, they would not match.'
            findings.append(Finding("quotes", "note", said, "repaired"))
    if reading.unclosed:
        raise ConfigError(
            f"{name}: the quote that is opened in row {reading.unclosed} is never closed.",
            'Close it, or write quotes inside a quoted cell twice ("").',
        )
    columns = column_names(reading.header, name, findings)
    _require_rows(reading, name, delimiter)
    findings += _row_findings(reading)
    rows = tuple(Row(number, dict(zip(columns, cells, strict=True))) for number, cells in reading.rows)
    origin = f"{DELIMITERS.get(delimiter, repr(delimiter))}-separated, {encoding}"
    return Table(name, columns, rows, tuple(reading.dropped), tuple(findings), origin, encoding)


def find_delimiter(text: str) -> str:
    """Return the delimiter that gives most of the first records as many cells as the header, at least two."""
    best, chosen = (0.0, 0), ","
    for delimiter in DELIMITERS:
        with _long_cells_allowed():
            reader = csv.reader(io.StringIO(text[:SAMPLE_CHARS], newline=""), delimiter=delimiter)
            try:
                records = [record for record in itertools.islice(reader, SAMPLE_RECORDS) if record]
            except csv.Error:
                continue
        if len(text) > SAMPLE_CHARS and len(records) > 2:
            records.pop()  # it may be cut
        width = len(records[0]) if records else 0
        if width >= 2:
            score = (sum(len(record) == width for record in records) / len(records), width)
            if score > best:
                best, chosen = score, delimiter
    return chosen


def column_names(header: list[str], name: str, findings: list[Finding]) -> tuple[str, ...]:
    """Return the names of a header without blanks at their ends, nameless columns called ``column 1``.

    Raises:
        ConfigError: there is none, or a name stands twice.
    """
    if not any(cell.strip() for cell in header):
        raise ConfigError(f"{name} is empty.", "Give it a header row and at least three rows below.")
    names = [cell.strip() or f"column {number}" for number, cell in enumerate(header, 1)]
    if nameless := [number for number, cell in enumerate(header, 1) if not cell.strip()]:
        said = f"{counted(len(nameless), 'column')} without a name, called " + ", ".join(
            f"'column {n}'" for n in nameless
        )
        findings.append(Finding("nameless-column", "note", f"{said}.", "repaired"))
    if twice := sorted({column for column in names if names.count(column) > 1}):
        places = [str(number) for number, column in enumerate(names, 1) if column == twice[0]]
        raise ConfigError(
            f"{name} has the column name {shown(twice[0])} {len(places)} times (columns {', '.join(places)}).",
            "Give every column a name of its own.",
        )
    return tuple(names)


def _without_spreadsheet_mark(text: str) -> tuple[str, str]:
    """Return the delimiter of a first line ``sep=;``, which spreadsheets write and hide, and the rest."""
    line, _, rest = text.partition("\n")
    line = line.rstrip("\r")
    if line.lower().startswith(SPREADSHEET_MARK) and len(line) == len(SPREADSHEET_MARK) + 1:
        return line[-1], rest
    return "", text


@contextmanager
def _long_cells_allowed() -> Iterator[None]:
    before = csv.field_size_limit(MAX_CELL_CHARS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read(text: str, name: str, delimiter: str, number: int, quoting: int = csv.QUOTE_MINIMAL) -> _Reading:
    """Read every record. ``number`` is the row of the first one."""
    reading = _Reading()
    seen: list[str] = []
    try:
        # Strict, so that a stray quote is found where it stands instead of swallowing the rows below.
        reader = csv.reader(_remembered(text, seen), delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"The delimiter {delimiter!r} is not one character.", "Pass --delimiter ';'.") from exc
    with _long_cells_allowed():
        while True:
            try:
                record = next(reader)
            except StopIteration:
                return reading
            except csv.Error as exc:
                if _is_fatal(exc, reading, number, name, "".join(seen)):
                    return reading
            else:
                _take(reading, number, record)
            seen.clear()
            number += 1


def _remembered(text: str, seen: list[str]) -> Iterator[str]:
    """Yield the lines of ``text``, keeping in ``seen`` those of the record on its way."""
    for line in io.StringIO(text, newline=""):
        seen.append(line)
        yield line


def _is_fatal(exc: csv.Error, reading: _Reading, number: int, name: str, raw: str) -> bool:
    reason = str(exc)
    if "unexpected end" in reason:
        reading.unclosed = number
        return True
    if "field limit" in reason:
        raise ConfigError(
            f"{name}, row {number}: a cell longer than {MAX_CELL_CHARS:,} characters.",
            "Is a quote opened there and never closed? Otherwise shorten the cell.",
        ) from exc
    reading.n_quote_faults += 1
    reading.dropped.append(Dropped(number, STRAY_QUOTE, (raw.rstrip("\r\n"),)))
    return False


def _take(reading: _Reading, number: int, record: list[str]) -> None:
    if not any(record) or not any(cell.strip() for cell in record):
        if record:  # a line of delimiters or blanks; an empty line holds nothing to tell of
            reading.blank.append(number)
        return
    if not reading.header:
        reading.header = record
        return
    width = len(reading.header)
    if len(record) > width and not any(cell.strip() for cell in record[width:]):
        reading.cut.append(number)
        record = record[:width]
    if len(record) == width:
        reading.rows.append((number, record))
    else:
        reason = f"has {counted(len(record), 'cell')}, the header has {width}"
        reading.dropped.append(Dropped(number, reason, tuple(record)))


def _require_rows(reading: _Reading, name: str, delimiter: str) -> None:
    total = len(reading.rows) + len(reading.dropped)
    if not total:
        raise ConfigError(f"{name} has a header and no rows.", "Add rows below the header.")
    if len(reading.dropped) > FAULTY_SHARE * total:
        first = reading.dropped[0]
        raise ConfigError(
            f"{name}: {len(reading.dropped):,} of {counted(total, 'row')} do not fit the header, the first is row "
            f"{first.number}: {first.reason}.",
            f"Read with the delimiter {DELIMITERS.get(delimiter, repr(delimiter))}: pass --delimiter if it is another, "
            "or complete the header.",
        )


def _row_findings(reading: _Reading) -> Iterator[Finding]:
    if reading.blank:
        rows = tuple(reading.blank)
        yield Finding("blank-rows", "note", f"{counted(len(rows), 'blank row')} passed over.", "reported", rows)
    if reading.cut:
        rows = tuple(reading.cut)
        said = f"{counted(len(rows), 'row')} with empty cells beyond the header; these cells were cut."
        yield Finding("cells-beyond-header", "note", said, "repaired", rows)
    for code, faults in (
        ("ragged-row", [row for row in reading.dropped if row.reason != STRAY_QUOTE]),
        ("stray-quote", [row for row in reading.dropped if row.reason == STRAY_QUOTE]),
    ):
        if faults:
            rows = tuple(row.number for row in faults)
            said = f"{counted(len(rows), 'row')} could not be read: {in_words(rows[:1])} {faults[0].reason}."
            yield Finding(code, "warning", said, "dropped", rows, "Correct these rows, or go on without them.")
