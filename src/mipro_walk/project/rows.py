"""What reading and checking a data file hand on: rows that know their number, and what was found about them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["note", "warning", "error"]
Action = Literal["reported", "repaired", "dropped", "refused"]
NAMED_ROWS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Attributes:
        number: as a person counts who has the file open. Tables (CSV, TSV, Excel): the header is row 1. JSON lines:
            the line. Everything else: the first record is 1.
        cells: text by column name, in the order of the columns.
    """

    number: int
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that is not used, why, and what it held (``cells`` may be more or fewer than there are columns)."""

    number: int
    reason: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a person should know about the data.

    Attributes:
        code: stable name of the kind of finding, such as ``empty-label``.
        level: ``error`` means that the data cannot be used as it is.
        text: what was found, one sentence that counts.
        action: what was done about it.
        rows: the numbers of all rows concerned, in order.
        fix: what a person can do, ``""`` if there is nothing to do.
    """

    code: str
    level: Level
    text: str
    action: Action
    rows: tuple[int, ...] = ()
    fix: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return it for JSON, with every row number."""
        return {
            "code": self.code,
            "level": self.level,
            "action": self.action,
            "text": self.text,
            "rows": list(self.rows),
            "fix": self.fix,
        }


@dataclass(frozen=True, slots=True)
class Table:
    """A data file as it was read.

    Attributes:
        name: what is said of it: a file's name, or a hub data set with its revision.
        rows: the rows that could be read, in the order of the file.
        dropped: the rows that could not.
        origin: how it was read, such as ``CSV, delimiter ',', utf-8``.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    dropped: tuple[Dropped, ...] = ()
    findings: tuple[Finding, ...] = ()
    origin: str = ""
    encoding: str = "utf-8"
    revision: str = field(default="")

    @property
    def n_read(self) -> int:
        """Rows in the file: those that could be read and those that could not; blank lines are no rows."""
        return len(self.rows) + len(self.dropped)


def in_words(numbers: Sequence[int], limit: int = NAMED_ROWS) -> str:
    """Return ``row 7`` or ``rows 2, 5, 9, … (14 in all)``."""
    if len(numbers) == 1:
        return f"row {numbers[0]}"
    named = ", ".join(map(str, numbers[:limit]))
    return f"rows {named}" + (f", … ({len(numbers):,} in all)" if len(numbers) > limit else "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'label'?"`` or nothing; case does not count."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(name.casefold()[:100], list(by_folded), n=1, cutoff=0.6)
    return f" Did you mean {by_folded[near[0]]!r}?" if near else ""


def shown(text: str, limit: int = 60) -> str:
    """Return a cell for a message: quoted, unprintable characters escaped, cut to ``limit`` characters."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")
