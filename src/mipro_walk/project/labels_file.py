"""The file that lists a task's labels and what each means: read from whatever a person has, written as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from mipro_walk.errors import ConfigError
from mipro_walk.project.rows import did_you_mean, shown
from mipro_walk.project.tables import read_table

LABEL_COLUMN, DESCRIPTION_COLUMN = "label", "description"
MAX_LABEL_CHARS = 300


def read_labels(path: Path) -> dict[str, str]:
    """Return the labels of a file and what each means, ``""`` where nothing is said.

    The file is a table with the column ``label`` and, optionally, ``description``; one column of any name will do.

    Raises:
        ConfigError: it cannot be read, has no such column, an empty label, one twice, or fewer than two.
    """
    table = read_table(path)
    names = {column.casefold(): column for column in table.columns}
    column = names.get(LABEL_COLUMN) or (table.columns[0] if len(table.columns) == 1 else None)
    if column is None:
        hint = did_you_mean(LABEL_COLUMN, table.columns)
        raise ConfigError(f"{table.name} has no column 'label'.{hint}", "Give it the columns label and description.")
    if table.dropped:
        first = table.dropped[0]
        raise ConfigError(f"{table.name}, row {first.number} {first.reason}.", "Put texts with commas into quotes.")
    found: dict[str, str] = {}
    for row in table.rows:
        label = row.cells[column].strip()
        if label and len(label) <= MAX_LABEL_CHARS and label not in found:
            found[label] = row.cells.get(names.get(DESCRIPTION_COLUMN, ""), "").strip()
            continue
        what = f"holds the label {shown(label)} again" if label in found else f"holds the label {shown(label)}"
        raise ConfigError(f"{table.name}, row {row.number} {what}.", "Write each label once, in 1 to 300 characters.")
    if len(found) < 2:
        raise ConfigError(f"{table.name} lists one label.", "List every possible label, one in each row.")
    return found


def render_labels(labels: Mapping[str, str]) -> str:
    """Return the file's text: ``label,description``, with room for what is not said yet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([LABEL_COLUMN, DESCRIPTION_COLUMN])
    writer.writerows(labels.items())
    return text.getvalue()
