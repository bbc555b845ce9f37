"""One ``mipro-walk init`` from a data file to a folder: what was not said by a flag is guessed, shown and asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mipro_walk.cli.init_options import InitOptions
from mipro_walk.cli.init_questions import ask_for_data, change_guess, choose_profile
from mipro_walk.cli.init_screen import show_findings, show_guess, show_preview, show_split
from mipro_walk.errors import ConfigError
from mipro_walk.project.answers import LABEL_KINDS, Rules
from mipro_walk.project.checks import CheckedRows, check_rows, require_usable
from mipro_walk.project.creating import NewProject, require_free, task_name, test_rows_of, write_project
from mipro_walk.project.describing import RUBRIC, TaskText, default_description, default_instruction
from mipro_walk.project.guessing import Guess, guess
from mipro_walk.project.hub import read_hub
from mipro_walk.project.labels_file import read_labels
from mipro_walk.project.rows import Table
from mipro_walk.project.splitting import SPLITS, split_rows
from mipro_walk.project.tables import read_table
from mipro_walk.walkthrough.ui import Choice, Question, QuitRequested, Ui

TRAIN_OF_REST = 4 / 7
"""Share of train in what the test leaves: 0.4 train and 0.3 val beside 0.3 test."""
DEFAULT_TEST_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Created:
    """What was written."""

    new: NewProject
    checked: CheckedRows
    files: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON. Rows read are rows used and rows dropped, always."""
        new = self.new
        findings = (*self.checked.findings, *new.splits.findings)
        used = {split: len(new.splits.rows[split]) for split in SPLITS}
        return {
            "folder": str(new.folder.absolute()),
            "name": new.task.name,
            "kind": new.rules.kind,
            "columns": list(new.rules.columns),
            "target": new.rules.target,
            "labels": list(new.labels),
            "profile": new.profile,
            "rows": {"read": new.table.n_read, "used": sum(used.values()), "dropped": len(new.dropped)},
            "splits": used,
            "findings": [finding.as_dict() for finding in findings],
            "dropped": [{"row": row.number, "reason": row.reason} for row in new.dropped],
            "files": list(self.files),
        }


def run_init(options: InitOptions, ui: Ui, environ: Mapping[str, str]) -> Created:
    """Ask, show, write.

    Raises:
        QuitRequested: the person wants to stop; nothing was written.
        MiproWalkError: the data or the folder cannot be used, or something has to be said by a flag.
    """
    if options.folder is not None:
        require_free(options.folder, force=options.force)
    options, table = _read(options, ui)
    show_preview(ui, table)
    listed = read_labels(options.labels) if options.labels is not None else {}
    rules = _rules(options, ui, table, tuple(listed))
    checked = check_rows(table, rules)
    if checked.errors:
        show_findings(ui, checked.findings, checked.dropped, table.n_read, len(checked.rows))
        require_usable(checked, table.name)
    shares = _shares(options)
    splits = split_rows(checked.rows, rules, shares=shares, rng_seed=options.rng_seed)
    dropped = tuple(sorted((*checked.dropped, *splits.dropped), key=lambda row: row.number))
    findings = (*checked.findings, *splits.findings)
    show_findings(ui, findings, dropped, table.n_read, sum(map(len, splits.rows.values())))
    profile = choose_profile(options, ui, environ)
    sizes = {split: len(splits.rows[split]) for split in SPLITS}
    show_split(ui, splits, rules, options.rng_seed, test_rows_of(profile, sizes))
    folder = _folder(options, ui, table)
    new = NewProject(
        folder=folder,
        task=_task_text(options, ui, rules, table, shares, folder),
        rules=rules,
        table=table,
        splits=splits,
        labels={label: listed.get(label, "") for label in checked.labels} if rules.kind in LABEL_KINDS else {},
        dropped=dropped,
        profile=profile,
        data_file=options.data,
    )
    _confirm(options, ui, folder)
    return Created(new, checked, write_project(new, force=options.force))


def _read(options: InitOptions, ui: Ui) -> tuple[InitOptions, Table]:
    if options.hub is not None:
        with ui.working(f"Loading {options.hub} from the hub"):
            table = read_hub(options.hub, revision=options.revision, config=options.hub_config, split=options.hub_split)
        return options, table
    while True:
        path = options.data or ask_for_data(ui)
        try:
            with ui.working(f"Reading {path}"):
                table = read_table(
                    path,
                    encoding=options.encoding,
                    delimiter=options.delimiter,
                    sheet=options.sheet,
                    **({} if options.max_mb is None else {"max_mb": options.max_mb}),
                )
        except ConfigError as exc:
            if options.data is not None or not ui.is_interactive:
                raise
            ui.warn(f"{exc.message} {exc.fix}")
        else:
            return replace(options, data=path), table


def _rules(options: InitOptions, ui: Ui, table: Table, labels: tuple[str, ...]) -> Rules:
    """Return what the rows are for: as told, else as guessed and confirmed."""
    is_told = bool(options.columns and options.target and options.kind)
    while True:
        found = guess(table, columns=options.columns, target=options.target, kind=options.kind)
        rules = _rules_from(options, found, labels)
        show_guess(ui, found, rules)
        if is_told:
            return rules
        if not ui.is_interactive:
            if found.confidence == "low":
                raise ConfigError(
                    f"What is text and what is answer in {table.name} is not clear. {' '.join(found.reasons)}",
                    f"Pass --text, --label and --kind; the columns are {', '.join(map(repr, table.columns[:20]))}.",
                )
            return rules
        choices = (Choice("y", "yes"), Choice("c", "change"), Choice("q", "quit"))
        answer = ui.ask(Question("Is that so?", choices, "y", "--text, --label and --kind"))
        if answer == "q":
            raise QuitRequested
        if answer == "y":
            return rules
        options = change_guess(options, ui, table, found)


def _rules_from(options: InitOptions, found: Guess, labels: tuple[str, ...]) -> Rules:
    low = options.low if options.low is not None else found.low
    high = options.high if options.high is not None else found.high
    if found.kind == "rating" and (low is None or high is None):
        raise ConfigError(f"The scale of {found.target!r} is not clear.", "Pass --low and --high, such as 1 and 5.")
    if labels and found.kind not in LABEL_KINDS:
        raise ConfigError(f"A list of labels means nothing for {found.kind}.", "Leave --labels out, or pass --kind.")
    return Rules(
        kind=found.kind,
        columns=found.columns,
        target=found.target,
        labels=labels,
        separator=options.separator or found.separator,
        low=low if found.kind == "rating" else None,
        high=high if found.kind == "rating" else None,
        split_column=None if options.split_column == "" else options.split_column or found.split_column,
    )


def _shares(options: InitOptions) -> dict[str, float]:
    test = DEFAULT_TEST_SHARE if options.test_share is None else options.test_share
    train = round((1 - test) * TRAIN_OF_REST, 4)
    return {"train": train, "val": round(1 - test - train, 4), "test": test}


def _folder(options: InitOptions, ui: Ui, table: Table) -> Path:
    if options.folder is not None:
        return options.folder
    default = task_name(options.data.stem if options.data else table.name.split("@")[0])
    while True:
        folder = Path(ui.ask_text(Question("Which folder should it go to?", (), default, "--folder DIR"))).expanduser()
        try:
            require_free(folder, force=options.force)
        except ConfigError as exc:
            if not ui.is_interactive:
                raise
            ui.warn(f"{exc.message} {exc.fix}")
        else:
            return folder


def _task_text(
    options: InitOptions, ui: Ui, rules: Rules, table: Table, shares: dict[str, float], folder: Path
) -> TaskText:
    question = Question("What is the task, in a sentence?", (), default_description(rules), "--description")
    description = options.description or ui.ask_text(question)
    hub = {"hub": options.hub or "", "revision": table.revision}
    hub |= {key: value for key in ("hub_config", "hub_split") if (value := getattr(options, key))}
    reading: dict[str, Any] = {} if table.encoding in ("utf-8", "utf-8-sig") else {"encoding": table.encoding}
    for key in ("delimiter", "sheet", "max_mb"):
        if (value := getattr(options, key)) is not None:
            reading[key] = value
    return TaskText(
        name=task_name(folder.absolute().name),
        description=description,
        instruction=options.instruction or default_instruction(rules),
        shares=shares,
        rng_seed=options.rng_seed,
        data_name=f"data{options.data.suffix.lower()}" if options.data else None,
        hub=None if options.data else hub,
        reading=reading,
        rubric=RUBRIC,
    )


def _confirm(options: InitOptions, ui: Ui, folder: Path) -> None:
    if options.yes or not ui.is_interactive:
        return
    choices = (Choice("y", "write"), Choice("q", "quit"))
    if ui.ask(Question(f"Write the project to {folder.absolute()}?", choices, "y", "--yes")) == "q":
        raise QuitRequested
