"""The texts of a new project: ``task.toml`` with a comment for every key, and its README."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import tomli_w

from mipro_walk.errors import ConfigError
from mipro_walk.project.answers import LABEL_KINDS, Rules
from mipro_walk.project.rows import Table, shown
from mipro_walk.project.sections import METRICS, SECTIONS
from mipro_walk.project.splitting import Splits

WIDTH = 100
RUBRIC = "The answer is correct, complete and to the point. It agrees with the reference in what it says."
INSTRUCTIONS = {
    "classification": "Read the {inputs} and answer with the {target} that fits best.",
    "multi_label": "Read the {inputs} and answer with every {target} that fits.",
    "extraction": "Read the {inputs} and extract the fields as JSON. Use null for what is not said.",
    "short_answer": "Read the {inputs} and answer with the {target} alone, in as few words as possible.",
    "rating": "Read the {inputs} and answer with the {target}, a whole number from {low} to {high}.",
    "judged": "Read the {inputs} and write the {target}.",
}
DESCRIPTIONS = {
    "classification": "Each {inputs} belongs to one {target}.",
    "multi_label": "Each {inputs} has one {target} or several.",
    "extraction": "Facts are extracted from each {inputs}.",
    "short_answer": "Each {inputs} has a short {target}.",
    "rating": "Each {inputs} has a {target} from {low} to {high}.",
    "judged": "Each {inputs} is answered with a {target} in free text.",
}


@dataclass(frozen=True, slots=True)
class TaskText:
    """What a person says of a task, and where its rows are.

    Attributes:
        name: as in ``task.toml``.
        data_name: the data file's name in the folder; ``None`` for a hub data set.
        hub: keys of ``[data]`` that name a hub data set.
        reading: keys of ``[data]`` that say how the file is read (encoding, delimiter, sheet, max_mb).
        shares: of train, val and test.
    """

    name: str
    description: str
    instruction: str
    shares: dict[str, float]
    rng_seed: int = 0
    data_name: str | None = None
    hub: dict[str, str] | None = None
    reading: dict[str, Any] | None = None
    rubric: str = RUBRIC


def default_description(rules: Rules) -> str:
    """Return a first description of a task of this kind."""
    return _filled(DESCRIPTIONS[rules.kind], rules)


def default_instruction(rules: Rules) -> str:
    """Return a first instruction for a task of this kind: plain, since it is what the search has to beat."""
    return _filled(INSTRUCTIONS[rules.kind], rules)


def _filled(pattern: str, rules: Rules) -> str:
    inputs = " and ".join(rules.columns)
    return pattern.format(inputs=inputs, target=rules.target, low=rules.low, high=rules.high)


def default_template(columns: tuple[str, ...]) -> str:
    """Return a template with a line for each column.

    Raises:
        ConfigError: a column's name holds a brace, which no template can name.
    """
    for column in columns:
        if "{" in column or "}" in column:
            raise ConfigError(f"The column {shown(column)} has a brace in its name.", "Rename it in the data file.")
    if len(columns) == 1:
        return "{" + columns[0] + "}"
    return "\n\n".join(f"{column[:1].upper()}{column[1:]}: {{{column}}}" for column in columns)


def render_task(task: TaskText, rules: Rules, table: Table) -> str:
    """Return ``task.toml``; every value that can be left out is there to be seen and changed."""
    data: dict[str, Any] = {"file": task.data_name} if task.data_name else dict(task.hub or {})
    data |= {"columns": list(rules.columns), "target": rules.target, **(task.reading or {})}
    if rules.split_column:
        data |= {"split_column": rules.split_column, "rng_seed": task.rng_seed}
    else:
        data |= {"rng_seed": task.rng_seed, **task.shares}
    told = {"name": task.name, "kind": rules.kind, "description": task.description, "instruction": task.instruction}
    parts = [
        _comment(f"A task for mipro-walk, made from {table.name}. Check it after a change: mipro-walk config check ."),
        _section("task", told),
        _section("data", data),
        _section("prompt", {"template": default_template(rules.columns)}),
    ]
    if rules.kind in LABEL_KINDS:
        separator = {"separator": rules.separator} if rules.kind == "multi_label" else {}
        parts.append(_section("labels", {"file": "labels.csv", **separator}))
    known = f"This kind knows {', '.join(METRICS[rules.kind])}."
    return "\n".join([*parts, _section("scoring", _scoring(task, rules), known)])


def _scoring(task: TaskText, rules: Rules) -> dict[str, Any]:
    scoring: dict[str, Any] = {"metric": METRICS[rules.kind][0]} if METRICS[rules.kind] else {}
    if rules.kind == "rating":
        scoring |= {"low": rules.low, "high": rules.high}
    if rules.kind == "extraction":
        scoring["schema"] = "schema.json"
    if rules.kind == "judged":
        scoring |= {"rubric": task.rubric, "low": 1, "high": 5}
    return scoring


def _section(table: str, values: dict[str, Any], more: str = "") -> str:
    """Return a table, above each key what it means; ``more`` is said of the key ``metric``."""
    fields = {info.alias or name: info for name, info in SECTIONS[table].model_fields.items()}
    lines = [f"[{table}]\n"]
    for key, value in values.items():
        said = f"{fields[key].description or ''} {more if key == 'metric' else ''}".strip()
        lines.append(_comment(said) + tomli_w.dumps({key: value}, multiline_strings=True))
    return "".join(lines)


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, WIDTH - 2))


def render_readme(task: TaskText, splits: Splits) -> str:
    """Return the project's README: what is in the folder and which commands to use."""
    sizes = ", ".join(f"{len(rows):,} {split}" for split, rows in splits.rows.items())
    return f"""\
# {task.name}

{task.description}

Rows: {sizes}. Everything here may be edited by hand.

| file | what it is |
| --- | --- |
| `task.toml` | what the task is: columns, instruction, split, scoring |
| `mipro_config.toml` | the model, the size of the search and its limits |
| `labels.csv` | labels with room for what each means (classification and multi-label only) |
| `dropped_rows.csv` | rows that are not used, each with the reason (if there are any) |

```
mipro-walk config check .              # names everything that is wrong, with its row or key
mipro-walk optimize .                  # search and test in this process; ends with a verdict
mipro-walk task-app serve .            # the same task over HTTP, at http://127.0.0.1:8002
mipro-walk train mipro_config.toml     # a job of the backend, against that task app
```
"""
