"""A project's folder as a task and a metric: what ``mipro-walk init`` wrote, for programs of your own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mipro_walk.errors import ConfigError
from mipro_walk.library.metrics import Metric
from mipro_walk.library.tasks import make_task
from mipro_walk.project.loading import Project, ProjectRow
from mipro_walk.project.loading import load_project as read_project
from mipro_walk.project.scorers.base import grade
from mipro_walk.types import Example, Task


def load_project(folder: str | Path, instruction: str | Mapping[str, str] | None = None) -> tuple[Task, Metric]:
    """Return the task of a project's folder, checked and divided as the command line does it, and its metric.

    The prompt is plain: the instruction and the rows' queries. How an answer is to look is said by the project's own
    requests alone, so say it in the instruction if it matters.

    Args:
        folder: what ``mipro-walk init`` wrote.
        instruction: what to start from in place of the project's instruction; instructions by name for several stages.

    Raises:
        ConfigError: something in the project cannot be used, or its answers need a judge.
        UnreachableError: its data set is on the hub, which cannot be reached.
    """
    project = read_project(Path(folder))
    if project.judge is not None:
        raise ConfigError(
            "This project's answers are rated by a judge model, which plain callables do not have.",
            "Use make_task and a metric that asks a judge, or run it with: mipro-walk optimize FOLDER",
        )
    definition = project.definition
    task = make_task(
        definition.task.name,
        definition.instruction if instruction is None else instruction,
        *([(row.query, row.label) for row in project.rows[split]] for split in ("train", "val", "test")),
        description=project.description,
        labels=project.labels,
        pinned=[(row.query, row.label) for row in project.pinned],
    )
    fixed = definition.fixed if instruction is None else ()
    return replace(task, kind=definition.kind, fixed=fixed), _metric(project)


def _metric(project: Project) -> Metric:
    rows = (row for split in project.rows.values() for row in split)
    targets = {_identity(row): row.target for row in rows}

    def score(answer: str, example: Example) -> Mapping[str, float]:
        graded = grade(project.scorer, answer, targets[_identity(example)])
        return {**graded.figures, "score": graded.score}

    return Metric(score, project.definition.kind)


def _identity(row: ProjectRow | Example) -> tuple[str, str]:
    return row.query, row.label
