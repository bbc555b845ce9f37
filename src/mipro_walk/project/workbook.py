"""Excel workbooks (.xlsx): one sheet, the values that Excel last computed, and what is said about formulas."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError
from mipro_walk.project.delimited import column_names
from mipro_walk.project.records import as_text
from mipro_walk.project.rows import Dropped, Finding, Row, Table, did_you_mean, in_words

MAX_UNPACKED = 20
"""A workbook may unpack to this many times the size limit of the file; beyond it is a bomb rather than a table."""
ERROR_VALUES = frozenset({"#N/A", "#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "#CALC!"})
MAX_WIDTH = 1000


def read_workbook(path: Path, *, sheet: str | None, max_bytes: int) -> Table:
    """Return a sheet as a table; the first row with something in it is the header.

    Cells with formulas count with the value that was saved beside the formula; rows with a formula and no such value,
    or with an error value, are dropped.

    Args:
        sheet: its name; ``None`` is the first one that is not empty.

    Raises:
        ConfigError: no workbook, no such sheet, no rows, or a column name twice.
    """
    _require_workbook(path, max_bytes)
    import openpyxl

    try:
        values = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
        formulas = openpyxl.load_workbook(path, read_only=True, data_only=False, keep_links=False)
    # openpyxl has no error class of its own: a damaged part ends in KeyError, ValueError, ParseError, TypeError …
    except Exception as exc:
        raise _damaged(path, exc) from None
    try:
        title, others = _choose(values, path, sheet)
        pairs = list(_rows(values[title], formulas[title], path))
    finally:
        values.close()
        formulas.close()
    findings: list[Finding] = []
    if others and sheet is None:
        said = f"Sheet {title!r} is read; there are also {', '.join(map(repr, others))}."
        findings.append(Finding("sheets", "note", said, "reported", fix="Choose another one with --sheet."))
    return _table(path.name, pairs, findings, f"Excel, sheet {title!r}")


Cells = list[tuple[Any, bool]]
"""Value and whether a formula made it, cell by cell."""


def _rows(values: Any, formulas: Any, path: Path) -> Iterator[tuple[int, Cells]]:
    """Yield the number of each row that is not blank, and its cells."""
    try:
        pairs = zip(values.iter_rows(values_only=True), formulas.iter_rows(values_only=True), strict=False)
        for number, (cells, raw) in enumerate(pairs, 1):
            row = [(cell, _is_formula(text)) for cell, text in zip(cells, raw, strict=False)]
            while row and _is_blank(*row[-1]):
                row.pop()
            if row:
                yield number, row[:MAX_WIDTH]
    except Exception as exc:  # read_only sheets are parsed only now
        raise _damaged(path, exc) from None


def _table(name: str, pairs: list[tuple[int, Cells]], findings: list[Finding], origin: str) -> Table:
    if not pairs:
        raise ConfigError(f"{name} is empty.", "Give it a header row and at least three rows below.")
    columns = column_names([as_text(value) for value, _ in pairs[0][1]], name, findings)
    rows: list[Row] = []
    dropped: list[Dropped] = []
    computed: list[int] = []
    for number, row in pairs[1:]:
        cells = [as_text(value) for value, _ in row]
        reason = _problem(row, columns)
        if reason:
            dropped.append(Dropped(number, reason, tuple(cells)))
            continue
        if any(is_formula for _, is_formula in row):
            computed.append(number)
        rows.append(Row(number, dict(zip(columns, [*cells, *[""] * (len(columns) - len(cells))], strict=True))))
    if not rows and not dropped:
        raise ConfigError(f"{name} has a header and no rows.", "Add rows below the header.")
    findings += _findings(dropped, computed)
    return Table(name, columns, tuple(rows), tuple(dropped), tuple(findings), origin)


def _problem(row: Cells, columns: tuple[str, ...]) -> str:
    if len(row) > len(columns):
        return f"has {counted(len(row), 'cell')}, the header has {len(columns)}"
    for column, (value, is_formula) in zip(columns, row, strict=False):
        if is_formula and value is None:
            return f"has a formula in {column!r} without a saved value"
        if isinstance(value, str) and value in ERROR_VALUES:
            return f"has the error {value} in {column!r}"
    return ""


def _findings(dropped: list[Dropped], computed: list[int]) -> Iterator[Finding]:
    if computed:
        said = f"{counted(len(computed), 'row')} with formulas: the values that were saved with them are used."
        yield Finding("formula", "note", said, "reported", tuple(computed))
    groups: dict[str, list[Dropped]] = {}
    for row in dropped:
        kind = "formula-without-value" if "formula" in row.reason else "ragged-row"
        groups.setdefault("error-value" if "the error #" in row.reason else kind, []).append(row)
    fixes = {
        "formula-without-value": "Open the file in Excel or LibreOffice and save it, or paste the values.",
        "error-value": "Correct the formulas.",
        "ragged-row": "Complete the header.",
    }
    for code, found in groups.items():
        numbers = tuple(row.number for row in found)
        said = f"{counted(len(found), 'row')} cannot be used: {in_words(numbers[:1])} {found[0].reason}."
        yield Finding(code, "warning", said, "dropped", numbers, fixes[code])


def _choose(workbook: Any, path: Path, sheet: str | None) -> tuple[str, list[str]]:
    """Return the sheet to read and the other ones."""
    titles = [title for title in workbook.sheetnames if hasattr(workbook[title], "iter_rows")]
    if sheet is not None:
        if sheet not in titles:
            known = ", ".join(map(repr, titles))
            raise ConfigError(f"{path.name} has no sheet {sheet!r}.{did_you_mean(sheet, titles)}", f"It has {known}.")
        return sheet, [title for title in titles if title != sheet]
    filled = [title for title in titles if _has_something(workbook[title])]
    if not filled:
        raise ConfigError(f"{path.name} is empty.", "Give it a header row and at least three rows below.")
    return filled[0], filled[1:]


def _has_something(worksheet: Any) -> bool:
    return any(value is not None for row in worksheet.iter_rows(max_row=20, values_only=True) for value in row)


def _is_formula(raw: object) -> bool:
    # Array formulas come as objects of openpyxl.
    return (isinstance(raw, str) and raw.startswith("=") and len(raw) > 1) or type(raw).__name__ == "ArrayFormula"


def _is_blank(value: object, is_formula: bool) -> bool:
    return not is_formula and (value is None or (isinstance(value, str) and not value.strip()))


def _require_workbook(path: Path, max_bytes: int) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as exc:
        raise _damaged(path, exc) from None
    if "[Content_Types].xml" not in names:
        raise ConfigError(
            f"{path.name} is a ZIP archive, not an Excel workbook.", "Unpack it and name the file inside."
        )
    if size > MAX_UNPACKED * max_bytes:
        raise ConfigError(f"{path.name} unpacks to {size / 1e6:,.0f} MB.", "Save the sheet as CSV.")


def _damaged(path: Path, exc: Exception) -> ConfigError:
    reason = str(exc).splitlines()[0][:120] if str(exc) else type(exc).__name__
    return ConfigError(
        f"{path.name} cannot be read as an Excel workbook: {reason}.", "Save it again as .xlsx, or as CSV."
    )
