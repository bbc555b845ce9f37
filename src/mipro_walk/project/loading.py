"""A project ready to run: its definition, its rows by split, and how answers are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError
from mipro_walk.project.answers import Rules
from mipro_walk.project.checks import check_rows, require_usable
from mipro_walk.project.definition import Definition, load_definition
from mipro_walk.project.kinds import Labels, load_labels, make_scorer
from mipro_walk.project.rows import Dropped, Finding, Row, Table, in_words
from mipro_walk.project.scorers.base import AnswerForm, BadTargetError, Scorer
from mipro_walk.project.scorers.judged import Judged
from mipro_walk.project.splitting import split_rows
from mipro_walk.project.templates import fill
from mipro_walk.types import Example, fingerprint

PINNED = "pinned"
NAMED_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """One row as it is asked about.

    Attributes:
        number: the row's number in the data file.
        query: the question, from the template.
        target: the right answer in canonical form: what answers are scored against.
        label: the right answer as demonstrations show it.
    """

    number: int
    query: str
    target: str
    label: str

    def as_example(self, seed: int) -> Example:
        """Return the row as the optimizer sees it."""
        return Example(seed, self.query, self.label)


@dataclass(frozen=True, slots=True)
class Project:
    """A loaded project.

    Attributes:
        labels: the possible answers of a classification; empty for every other kind.
        description: the definition's, with the labels of a multi-label task, which the meta-model should know.
        rows: rows of train, val and test, and of ``pinned`` if there are any; ``rows[split][seed]``.
        findings, dropped: what reading and checking the data found.
        source: where the rows come from, in words.
        identity: SHA-256 of everything that decides an outcome beside prompt and model: rows and scoring.
    """

    definition: Definition
    scorer: Scorer
    form: AnswerForm
    labels: tuple[str, ...]
    description: str
    rows: Mapping[str, tuple[ProjectRow, ...]]
    findings: tuple[Finding, ...]
    dropped: tuple[Dropped, ...]
    source: str
    identity: str

    @property
    def judge(self) -> Judged | None:
        """Return the scorer if it is one that asks a judge."""
        return self.scorer if isinstance(self.scorer, Judged) else None

    @property
    def split_hashes(self) -> dict[str, str]:
        """Return what the task app says of its splits. Scoring belongs to it: other scores are other outcomes."""
        return {split: fingerprint([self.identity, split]) for split in self.rows}

    @property
    def pinned(self) -> tuple[ProjectRow, ...]:
        """Return the rows that must not get worse."""
        return self.rows.get(PINNED, ())


def load_project(path: Path) -> Project:
    """Read a project's folder (or its ``task.toml``): definition, data, splits.

    Raises:
        ConfigError: anything in it cannot be used; every problem of one stage at once, with row numbers.
        UnreachableError: its data set is on the hub, which cannot be reached.
    """
    definition = load_definition(path)
    listed = load_labels(definition)
    table = read_data(definition)
    rules = rules_of(definition, listed)
    checked = check_rows(table, rules)
    require_usable(checked, table.name)
    scorer = make_scorer(definition, listed, checked.labels)
    known = {row.number: row for row in _readable(checked.rows, definition, scorer, table.name)}
    splits = split_rows(
        [row for row in checked.rows if row.number not in set(definition.task.pinned)],
        rules,
        shares=definition.data.shares,
        rng_seed=definition.data.rng_seed,
    )
    rows: dict[str, tuple[ProjectRow, ...]] = {
        split: tuple(known[row.number] for row in members) for split, members in splits.rows.items()
    }
    if definition.task.pinned:
        rows[PINNED] = tuple(_pinned(definition, known, table))
    is_classification = definition.kind == "classification"
    labels = (listed.values or checked.labels) if definition.kind in ("classification", "multi_label") else ()
    return Project(
        definition,
        scorer,
        scorer.form(),
        tuple(labels) if is_classification else (),
        _description(definition, () if is_classification else labels),
        rows,
        (*checked.findings, *splits.findings),
        (*checked.dropped, *splits.dropped),
        f"{table.name} ({table.origin})" if table.origin else table.name,
        _identity(definition, listed, rows),
    )


def read_data(definition: Definition) -> Table:
    """Return the table that ``[data]`` names."""
    data = definition.data
    if data.file is not None:
        from mipro_walk.project.tables import MAX_MB, read_table

        # The default is what the reader finds out by itself, byte order marks included.
        encoding = None if data.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else data.encoding
        return read_table(
            definition.folder / data.file,
            encoding=encoding,
            delimiter=data.delimiter,
            sheet=data.sheet,
            max_mb=data.max_mb or MAX_MB,
        )
    from mipro_walk.project.hub import read_hub

    return read_hub(str(data.hub), revision=data.revision, config=data.hub_config, split=data.hub_split)


def rules_of(definition: Definition, labels: Labels) -> Rules:
    """Return what the rows are checked against."""
    return Rules(
        kind=definition.kind,
        columns=tuple(definition.data.columns),
        target=definition.data.target,
        labels=labels.values,
        separator=definition.labels.separator,
        low=definition.scoring.low if definition.kind == "rating" else None,
        high=definition.scoring.high if definition.kind == "rating" else None,
        split_column=definition.data.split_column,
    )


def _readable(rows: Sequence[Row], definition: Definition, scorer: Scorer, name: str) -> list[ProjectRow]:
    """Return every row with its question and right answer.

    Raises:
        ConfigError: right answers that the scorer cannot use, each with its row.
    """
    found: list[ProjectRow] = []
    problems: list[str] = []
    for row in rows:
        try:
            target = scorer.target(row.cells[definition.data.target])
        except BadTargetError as exc:
            problems.append(f"Row {row.number}: {definition.data.target} {exc}.")
            continue
        found.append(ProjectRow(row.number, fill(definition.template, row.cells), target, scorer.shown(target)))
    if problems:
        more = len(problems) - NAMED_PROBLEMS
        shown = problems[:NAMED_PROBLEMS] + ([f"… and {more} more."] if more > 0 else [])
        raise ConfigError(
            f"{name}: {counted(len(problems), 'right answer')} cannot be used.", "Correct these cells.", problems=shown
        )
    return found


def _pinned(definition: Definition, known: Mapping[int, ProjectRow], table: Table) -> list[ProjectRow]:
    if missing := [number for number in definition.task.pinned if number not in known]:
        raise ConfigError(
            f"task.pinned names {in_words(missing)} of {table.name}, which {'is' if len(missing) == 1 else 'are'} "
            "not there or not usable.",
            "Name rows of the data by their numbers; a table's first row below the header is row 2.",
        )
    return [known[number] for number in definition.task.pinned]


def _description(definition: Definition, labels: Sequence[str]) -> str:
    """Return the task's description; the labels are told where an answer is a set of them."""
    text = definition.task.description
    return f"{text} Possible labels: {', '.join(labels)}." if labels else text


def _identity(definition: Definition, labels: Labels, rows: Mapping[str, Sequence[ProjectRow]]) -> str:
    scoring = definition.scoring.model_dump()
    if definition.scoring.schema_file is not None:
        from mipro_walk.project.kinds import load_schema

        scoring["schema_file"] = load_schema(definition)
    hashed = {split: [[row.query, row.target] for row in members] for split, members in rows.items()}
    return fingerprint([definition.kind, definition.metric, scoring, labels.values, labels.descriptions, hashed])
