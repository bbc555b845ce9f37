"""Everything that is wrong with a project folder, at once: its definition, its data, its configuration."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mipro_walk.config import RunConfig, load_config
from mipro_walk.config.loading import read_text
from mipro_walk.core.algorithms import plan_for
from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError, MiproWalkError
from mipro_walk.project.creating import CONFIG_FILE
from mipro_walk.project.definition import TASK_FILE, load_definition
from mipro_walk.project.loading import Project, load_project
from mipro_walk.project.rows import Finding, did_you_mean, shown
from mipro_walk.project.tables import read_table
from mipro_walk.types import Task


@dataclass(frozen=True, slots=True)
class ProjectCheck:
    """What a check found.

    Attributes:
        problems: everything that has to be corrected, file by file; empty if the project can be run.
        fix: what to do about the first of them.
        rows: rows of each split, where the data could be read.
        findings: what reading and checking the data found, errors aside.
    """

    problems: tuple[str, ...]
    fix: str
    rows: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    findings: tuple[Finding, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "ok": not self.problems,
            "problems": list(self.problems),
            "fix": self.fix,
            "rows": self.rows,
            "dropped": self.dropped,
            "findings": [finding.as_dict() for finding in self.findings],
        }


def check_project(folder: Path) -> ProjectCheck:
    """Check a folder's ``task.toml``, the data it names and its ``mipro_config.toml``."""
    problems: list[str] = []
    fixes: list[str] = []
    project = config = None
    try:
        load_definition(folder)
    except MiproWalkError as exc:
        _note(problems, fixes, TASK_FILE, exc)
        problems.extend(_problems_beyond_definition(folder))
    else:
        try:
            project = load_project(folder)
        except MiproWalkError as exc:
            _note(problems, fixes, TASK_FILE, exc)
    try:
        config = load_config(folder / CONFIG_FILE)
    except MiproWalkError as exc:
        _note(problems, fixes, CONFIG_FILE, exc)
    if project is not None and config is not None:
        for problem, fix in _misfits(project, config):
            problems.append(f"{CONFIG_FILE}: {problem}")
            fixes.append(fix)
    if project is None:
        return ProjectCheck(tuple(problems), fixes[0])
    rows = {split: len(members) for split, members in project.rows.items()}
    return ProjectCheck(tuple(problems), fixes[0] if fixes else "", rows, len(project.dropped), project.findings)


def _note(problems: list[str], fixes: list[str], file: str, exc: MiproWalkError) -> None:
    listed = exc.problems if isinstance(exc, ConfigError) else []
    problems.extend(f"{file}: {problem}" for problem in listed or [exc.message])
    fixes.append(exc.fix)


def _problems_beyond_definition(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the data file, as far as a definition with mistakes tells where it is."""
    try:
        data = tomllib.loads(read_text(folder / TASK_FILE, allow_bom=True))["data"]
        file, names = str(data["file"]), [*map(str, data["columns"]), str(data["target"])]
    except (MiproWalkError, ValueError, KeyError, TypeError, RecursionError):
        return
    try:
        table = read_table(folder / file)
    except MiproWalkError as exc:
        yield f"{file}: {exc.message}"
        return
    for name in dict.fromkeys(names):
        if name not in table.columns:
            yield f"{file}: There is no column {shown(name)}.{did_you_mean(name, table.columns)}"


def _task(project: Project, config: RunConfig) -> Task:
    """Return the task as a run of this configuration plans it: enough to see whether it can."""
    pools = {"train": config.pools.train, "val": config.pools.val, "test": config.pools.test}
    rows = {}
    for name, pool in pools.items():
        members = project.rows.get(pool.split or "test", ())
        seeds = range(len(members)) if pool.seeds is None else [seed for seed in pool.seeds if seed < len(members)]
        rows[name] = [members[seed].as_example(seed) for seed in seeds]
    return Task(project.definition.task.name, "", "", rows["train"], rows["val"], rows["test"], project.labels)


def _misfits(project: Project, config: RunConfig) -> Iterator[tuple[str, str]]:
    """Yield what is right by itself and wrong together, with its fix."""
    test = len(project.rows["test"])
    try:
        plan_for(config.settings, _task(project, config))
    except ConfigError as exc:
        yield exc.message, exc.fix
    for name, pool in (("train", config.pools.train), ("val", config.pools.val), ("test", config.pools.test)):
        available = len(project.rows.get(pool.split or "test", ()))
        if pool.seeds is not None and max(pool.seeds) >= available:
            yield (
                f"the {name} pool names seed {max(pool.seeds)}, but {pool.split} has {counted(available, 'row')}.",
                f"Use seeds below {available}, or leave the pool out for all of the split.",
            )
    if config.pools.test.seeds is None and config.settings.test_size > test:
        yield (
            f"test_size = {config.settings.test_size}, but test has {counted(test, 'row')}.",
            f"Set test_size to {test} or less.",
        )
    if "num_intents" in config.env_config:
        yield "num_intents means nothing for a project.", "Take it out of [prompt_learning.env_config]."
