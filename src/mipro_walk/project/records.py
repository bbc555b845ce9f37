"""JSON lines, JSON and Parquet: records with keys, made into text cells."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError
from mipro_walk.project.delimited import FAULTY_SHARE
from mipro_walk.project.rows import Dropped, Finding, Row, Table, in_words

LIST_KEYS = ("data", "rows", "examples", "records", "items")
"""Where a JSON document may keep its list of records."""
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
Record = tuple[int, Any]
"""A number and what stands there: a mapping, or a `Fault`."""


class Fault(str):
    """Why a record cannot be read; ``raw`` is its text."""

    raw = ""

    @classmethod
    def of(cls, reason: str, raw: str) -> Fault:
        """Return a fault with what stood there."""
        fault = cls(reason)
        fault.raw = raw
        return fault


def read_json(text: str, name: str, *, as_lines: bool, encoding: str = "utf-8") -> Table:
    """Return the table in JSON lines, or in one JSON list of objects.

    Raises:
        ConfigError: nothing in it, not such JSON, or mostly faulty lines.
    """
    if not text.strip():
        raise ConfigError(f"{name} is empty.", "Write one JSON object on each line.")
    if not as_lines:
        document = _whole(text)
        if document is not None:
            return from_records(
                enumerate(_list_in(document, name), 1), name, origin=f"JSON, {encoding}", encoding=encoding
            )
    return from_records(_lines(text), name, origin=f"JSON lines, {encoding}", encoding=encoding)


def read_parquet(path: Path) -> Table:
    """Return the table in a Parquet file; class numbers that ``datasets`` wrote become their names.

    Raises:
        ConfigError: not a Parquet file, or nothing in it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        records = table.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as exc:
        reason = str(exc).splitlines()[0][:160] if str(exc) else type(exc).__name__
        raise ConfigError(f"{path.name} cannot be read as Parquet: {reason}.", "Write it again, or give CSV.") from None
    name_classes(records, _class_names(table.schema.metadata or {}))
    return from_records(enumerate(records, 1), path.name, origin="Parquet", columns=tuple(map(str, table.column_names)))


def from_records(
    records: Iterable[Record], name: str, *, origin: str, columns: tuple[str, ...] = (), encoding: str = "utf-8"
) -> Table:
    """Return a table of mappings; keys that a record lacks are empty cells.

    Raises:
        ConfigError: no record, or mostly faulty ones.
    """
    found: dict[str, None] = dict.fromkeys(columns)
    numbered: list[tuple[int, dict[str, str]]] = []
    dropped: list[Dropped] = []
    for number, record in records:
        if isinstance(record, Mapping):
            cells = {str(key).strip(): as_text(value) for key, value in record.items()}
            if any(_HALF_CHARACTER.search(cell) for cell in cells.values()):
                raw = tuple(cell.encode("utf-8", "backslashreplace").decode() for cell in cells.values())
                dropped.append(Dropped(number, "holds half a character (a lone surrogate)", raw))
                continue
            found.update(dict.fromkeys(cells))
            numbered.append((number, cells))
        else:
            reason = str(record) if isinstance(record, Fault) else f"is not an object, but {_kind(record)}"
            raw_text = record.raw if isinstance(record, Fault) else json.dumps(record, ensure_ascii=False, default=str)
            dropped.append(Dropped(number, reason, (raw_text.encode("utf-8", "backslashreplace").decode(),)))
    _require_records(name, len(numbered), dropped)
    names = tuple(found)
    rows = tuple(Row(number, {column: cells.get(column, "") for column in names}) for number, cells in numbered)
    return Table(name, names, rows, tuple(dropped), tuple(_faults(dropped)), origin, encoding)


def as_text(value: object) -> str:
    """Return a value as a cell: nothing as ``""``, lists and objects as JSON, ``3.0`` as ``3``."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if value != value else str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def name_classes(records: Iterable[dict[str, Any]], names: Mapping[str, list[str]]) -> None:
    """Replace class numbers by their names, in place."""
    if not names:
        return
    for record in records:
        for column, classes in names.items():
            value = record.get(column)
            if isinstance(value, int) and 0 <= value < len(classes):
                record[column] = classes[value]


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}  # written by something else


def _lines(text: str) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON may hold U+2028 as it is
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except RecursionError:
            yield number, Fault.of("is nested too deeply", line)
        except json.JSONDecodeError as exc:
            yield number, Fault.of(f"is not JSON: {exc.msg} at character {exc.pos + 1}", line)
        except ValueError:  # a number of thousands of digits
            yield number, Fault.of("holds a number with too many digits", line)


def _whole(text: str) -> Any:
    """Return the document, ``None`` if it is rather one object on each line."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _list_in(document: Any, name: str) -> list[Any]:
    if isinstance(document, list):
        return document
    if isinstance(document, dict):
        for key in LIST_KEYS:
            if isinstance(document.get(key), list):
                return list(document[key])
        if any(not isinstance(value, (list, dict)) for value in document.values()):
            return [document]  # JSON lines of one line
    raise ConfigError(
        f"{name} holds {_kind(document)}, no list of objects.",
        'Write a list such as [{"text": "…", "label": "…"}], or one object on each line (.jsonl).',
    )


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _require_records(name: str, n_rows: int, dropped: list[Dropped]) -> None:
    total = n_rows + len(dropped)
    if not total:
        raise ConfigError(f"{name} holds no rows.", "Add records.")
    if len(dropped) > FAULTY_SHARE * total:
        first = dropped[0]
        raise ConfigError(
            f"{name}: {len(dropped):,} of {counted(total, 'row')} cannot be read, the first is row {first.number}: it "
            f"{first.reason}.",
            "Write one JSON object on each line.",
        )


def _faults(dropped: list[Dropped]) -> Iterator[Finding]:
    if dropped:
        rows = tuple(row.number for row in dropped)
        said = f"{counted(len(rows), 'row')} could not be read: {in_words(rows[:1])} {dropped[0].reason}."
        yield Finding("unreadable-row", "warning", said, "dropped", rows, "Correct these rows, or go on without them.")
