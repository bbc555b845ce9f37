"""Checks the rows of a table against what a task needs. A row is used, or dropped with its reason: never neither.

What can be repaired without a guess is repaired and said (spellings of a label). What cannot be used is dropped,
counted and listed. What is merely odd is told and left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mipro_walk.errors import ConfigError
from mipro_walk.project.answers import LABEL_KINDS, LabelSpellings, Rules, UnusableAnswer, labels_in, usual_answer
from mipro_walk.project.findings import (
    Notes,
    drop_findings,
    label_findings,
    odd_findings,
    repair_findings,
    size_findings,
)
from mipro_walk.project.rows import Dropped, Finding, Row, Table, did_you_mean, shown
from mipro_walk.project.suspects import approximate_tokens, suspicions


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """What is left of a table. ``table.n_read == len(rows) + len(dropped)``, always.

    Attributes:
        rows: usable rows in the order of the file, answers in their usual form.
        dropped: all others, those that could not be read included, in the order of the file.
        findings: of reading and checking.
        labels: the possible labels: the list's order, else the data's by name; empty for kinds without labels.
    """

    rows: tuple[Row, ...]
    dropped: tuple[Dropped, ...]
    findings: tuple[Finding, ...]
    labels: tuple[str, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Return the findings that make the data unusable."""
        return tuple(finding for finding in self.findings if finding.level == "error")


def require_columns(table: Table, rules: Rules) -> None:
    """Refuse columns that the table does not have.

    Raises:
        ConfigError: naming each, with the nearest one that there is.
    """
    wanted = [*rules.columns, rules.target, *([rules.split_column] if rules.split_column else [])]
    missing = [name for name in dict.fromkeys(wanted) if name not in table.columns]
    if missing:
        named = " ".join(
            f"There is no column {shown(name)} in {table.name}.{did_you_mean(name, table.columns)}" for name in missing
        )
        known = ", ".join(map(shown, table.columns[:20])) + (", …" if len(table.columns) > 20 else "")
        raise ConfigError(named, f"Its columns are {known}.")


def check_rows(table: Table, rules: Rules) -> CheckedRows:
    """Check every row and say what was found.

    Raises:
        ConfigError: a column is missing. Other errors are findings, so that a person sees all at once.
    """
    require_columns(table, rules)
    spellings = LabelSpellings.of(rules.labels, labels_in(table.rows, rules)) if rules.kind in LABEL_KINDS else None
    notes = _pass(table.rows, rules, spellings)
    dropped = [*table.dropped, *(row for rows in notes.dropped.values() for row in rows)]
    labels = _labels(notes.kept, rules) if spellings else ()
    findings = [
        *table.findings,
        *drop_findings(notes),
        *repair_findings(notes, spellings),
        *odd_findings(notes, rules),
        *label_findings(notes.kept, rules, labels),
        *size_findings(notes.kept),
    ]
    return CheckedRows(tuple(notes.kept), tuple(sorted(dropped, key=lambda row: row.number)), tuple(findings), labels)


def require_usable(checked: CheckedRows, name: str) -> None:
    """Refuse data with errors in it.

    Raises:
        ConfigError: listing every one.
    """
    if checked.errors:
        raise ConfigError(
            f"{name} cannot be used as it is.",
            next((finding.fix for finding in checked.errors if finding.fix), "Correct the data."),
            problems=[finding.text for finding in checked.errors],
        )


def _pass(rows: Sequence[Row], rules: Rules, spellings: LabelSpellings | None) -> Notes:
    notes = Notes()
    seen: dict[tuple[str, ...], dict[str, int]] = {}
    for row in rows:
        inputs = tuple(" ".join(row.cells[column].split()) for column in rules.columns)
        if not any(inputs):
            where = shown(rules.columns[0]) if len(rules.columns) == 1 else "all input columns"
            _drop(notes, "empty-text", row, f"has nothing in {where}")
            continue
        try:
            answer = usual_answer(row.cells[rules.target], rules, spellings)
        except UnusableAnswer as exc:
            _drop(notes, exc.code, row, str(exc))
            continue
        # A copy in another split is the split's affair: test rows are never touched.
        place = row.cells[rules.split_column] if rules.split_column else ""
        known = seen.setdefault((place, *inputs), {})
        if answer in known:
            _drop(notes, "duplicate-row", row, f"repeats row {known[answer]}")
            continue
        if known:
            notes.clashing.setdefault(inputs, list(known.values())).append(row.number)
        known[answer] = row.number
        _note_oddities(notes, row, inputs, rules)
        if answer != row.cells[rules.target]:
            notes.spelled.append(row.number)
            row = replace(row, cells={**row.cells, rules.target: answer})
        notes.kept.append(row)
    return notes


def _drop(notes: Notes, code: str, row: Row, reason: str) -> None:
    notes.dropped.setdefault(code, []).append(Dropped(row.number, reason, tuple(row.cells.values())))


def _note_oddities(notes: Notes, row: Row, inputs: tuple[str, ...], rules: Rules) -> None:
    if not all(inputs):
        notes.half_empty.append(row.number)
    for column in rules.columns:
        for code in suspicions(row.cells[column]):
            numbers = notes.odd.setdefault(code, [])
            if not numbers or numbers[-1] != row.number:
                numbers.append(row.number)
    length = sum(map(len, inputs))
    if length > rules.max_row_tokens and sum(map(approximate_tokens, inputs)) > rules.max_row_tokens:
        notes.odd.setdefault("too-long", []).append(row.number)


def _labels(rows: Sequence[Row], rules: Rules) -> tuple[str, ...]:
    return rules.labels or tuple(sorted(set(labels_in(rows, rules))))
