"""Writes a project folder, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mipro_walk.config import load_config, write_config
from mipro_walk.config.profiles import get_profile
from mipro_walk.errors import ConfigError, PrerequisiteError
from mipro_walk.project import samples
from mipro_walk.project.answers import LABEL_KINDS, Rules
from mipro_walk.project.definition import TASK_FILE, load_definition
from mipro_walk.project.describing import TaskText, render_readme, render_task
from mipro_walk.project.labels_file import render_labels
from mipro_walk.project.rows import Dropped, Row, Table
from mipro_walk.project.schema import infer_schema
from mipro_walk.project.splitting import Splits
from mipro_walk.project.suspects import approximate_tokens
from mipro_walk.types import Split

CONFIG_FILE, README_FILE, LABELS_FILE, SCHEMA_FILE = "mipro_config.toml", "README.md", "labels.csv", "schema.json"
DROPPED_FILE = "dropped_rows.csv"
CONTEXT_FOR_DEMOS = 4000
"""Tokens of a small model's context that demonstrations may take."""
ANSWER_TOKENS = {"classification": 64, "multi_label": 128, "rating": 64, "short_answer": 64, "judged": 300}


@dataclass(frozen=True, slots=True)
class NewProject:
    """Everything that a project folder is made of.

    Attributes:
        data_file: what is copied; ``None`` for a hub data set.
        labels: the labels and what they mean; empty for kinds without.
        dropped: rows that are not used.
    """

    folder: Path
    task: TaskText
    rules: Rules
    table: Table
    splits: Splits
    labels: Mapping[str, str]
    dropped: tuple[Dropped, ...]
    profile: str
    data_file: Path | None = None


def write_project(new: NewProject, *, force: bool = False) -> list[str]:
    """Write the folder and return the names of its files.

    The folder appears under its name when all of it is written and loads. With ``force`` a folder that is there
    already is kept beside it, under another name.

    Raises:
        ConfigError: there is such a folder, or what would be written does not load.
        PrerequisiteError: the parent folder cannot be written to.
    """
    return _appear(new.folder, lambda folder: _fill(new, folder), force=force)


def copy_sample(kind: str, folder: Path, *, force: bool = False) -> list[str]:
    """Copy the project that is shipped as a sample of ``kind``, and return the names of its files.

    Raises:
        ConfigError: there is no such sample, or the folder is taken.
        PrerequisiteError: the parent folder cannot be written to.
    """

    def fill(temporary: Path) -> None:
        for path in samples.copy_sample(kind, temporary, name=folder.absolute().name):
            path.chmod(0o600)

    return _appear(folder, fill, force=force)


def _appear(folder: Path, fill: Callable[[Path], None], *, force: bool) -> list[str]:
    """Fill a folder beside, see that it loads, then give it its name."""
    folder = folder.absolute()
    require_free(folder, force=force)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}")
    try:
        temporary.mkdir(mode=0o700)
        fill(temporary)
        load_definition(temporary)
        load_config(temporary / CONFIG_FILE, environ={})
        _move_aside(folder)
        os.rename(temporary, folder)
    except OSError as exc:
        raise PrerequisiteError(
            f"Cannot write {str(folder)!r}: {exc.strerror or exc}.", "Name another folder with --folder."
        ) from exc
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(path.name for path in folder.iterdir())


def require_free(folder: Path, *, force: bool) -> None:
    """Refuse a folder that cannot be made.

    Raises:
        ConfigError: something is there, or its parent is not.
    """
    if not folder.absolute().parent.is_dir():
        raise ConfigError(f"There is no folder {str(folder.absolute().parent)!r}.", "Make it first, or name another.")
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or folder.is_symlink():
        raise ConfigError(f"{str(folder)!r} is there already and no folder.", "Name another one with --folder.")
    if any(folder.iterdir()) and not force:
        fix = "Name another one with --folder, or pass --force: the old one is kept under another name."
        raise ConfigError(f"The folder {str(folder)!r} is not empty.", fix)


def old_name(folder: Path) -> Path:
    """Return where a folder that is replaced goes: the first free ``NAME.old-1``, ``NAME.old-2`` …"""
    number = 1
    while os.path.lexists(candidate := folder.with_name(f"{folder.name}.old-{number}")):
        number += 1
    return candidate


def task_name(text: str) -> str:
    """Return a task name made of a file's or folder's name."""
    found = re.sub(r"[^a-z0-9_-]+", "-", text.casefold()).strip("-")[:64]
    return found or "task"


def _move_aside(folder: Path) -> None:
    if not folder.is_dir():
        return
    if any(folder.iterdir()):
        os.rename(folder, old_name(folder))
    else:
        folder.rmdir()


def _fill(new: NewProject, folder: Path) -> None:
    files = {TASK_FILE: render_task(new.task, new.rules, new.table), README_FILE: render_readme(new.task, new.splits)}
    if new.rules.kind in LABEL_KINDS:
        files[LABELS_FILE] = render_labels(new.labels)
    if new.rules.kind == "extraction":
        files[SCHEMA_FILE] = json.dumps(_schema(new), ensure_ascii=False, indent=2) + "\n"
    if new.dropped:
        files[DROPPED_FILE] = render_dropped(new.table, new.dropped)
    for name, text in files.items():
        _write(folder / name, text)
    if new.data_file is not None:
        assert new.task.data_name is not None
        shutil.copyfile(new.data_file, folder / new.task.data_name)
        os.chmod(folder / new.task.data_name, 0o600)
    title = f"How {new.task.name} is searched, from the profile {new.profile}."
    write_config(folder / CONFIG_FILE, new.profile, config_overrides(new), title=title)


def config_overrides(new: NewProject) -> dict[str, object]:
    """Return what a project's configuration changes of its profile: its rows, room for its answers, no slice."""
    document = get_profile(new.profile).document["prompt_learning"]
    sizes = {split: len(rows) for split, rows in new.splits.rows.items()}
    test_size = test_rows_of(new.profile, sizes)
    overrides: dict[str, object] = {
        "task_app_id": new.task.name,
        "env_config": None,
        "bootstrap_train_seeds": None,
        "online_pool": None,
        "test_pool": None,
        "test_size": test_size,
        "ablation_size": min(int(document["mipro"]["ablation_size"]), test_size),
        "num_demos": _num_demos(new, int(document["mipro"]["num_demos"])),
        "policy.max_completion_tokens": _answer_tokens(new),
    }
    return overrides


def test_rows_of(profile: str, sizes: Mapping[Split, int]) -> int:
    """Return how many test rows a run with this profile uses."""
    mipro = get_profile(profile).document["prompt_learning"]["mipro"]
    return min(int(mipro["test_size"]), sizes["test"])


def _num_demos(new: NewProject, wanted: int) -> int:
    rows = new.splits.rows["train"][:200]
    tokens = sum(_row_tokens(row, new.rules) for row in rows) / max(1, len(rows))
    return max(0, min(wanted, len(new.splits.rows["train"]), int(CONTEXT_FOR_DEMOS / max(1.0, tokens))))


def _row_tokens(row: Row, rules: Rules) -> int:
    return sum(approximate_tokens(row.cells[column]) for column in (*rules.columns, rules.target))


def _answer_tokens(new: NewProject) -> int:
    """Return room for an answer: the kind's own, or one and a half times the longest right answer."""
    longest = max(approximate_tokens(row.cells[new.rules.target]) for row in _all_rows(new))
    return min(2000, max(ANSWER_TOKENS.get(new.rules.kind, 64), int(1.5 * longest) + 16))


def _all_rows(new: NewProject) -> list[Row]:
    return [row for rows in new.splits.rows.values() for row in rows]


def _schema(new: NewProject) -> dict[str, object]:
    rows = sorted(_all_rows(new), key=lambda row: row.number)
    return infer_schema([json.loads(row.cells[new.rules.target]) for row in rows])


def render_dropped(table: Table, dropped: tuple[Dropped, ...]) -> str:
    """Return ``dropped_rows.csv``: number, reason and cells of each row that is not used."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "reason", *table.columns])
    for row in dropped:
        writer.writerow([row.number, row.reason, *map(_inert, row.cells)])
    return text.getvalue()


def _inert(cell: str) -> str:
    """Return a cell that a spreadsheet will not take for a formula: this file is made to be opened in one."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
