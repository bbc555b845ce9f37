"""Project folders: whole or not at all, loadable by everything that reads them, private."""

from __future__ import annotations

import csv
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from mipro_walk.config import load_config
from mipro_walk.errors import ConfigError, PrerequisiteError
from mipro_walk.project import creating
from mipro_walk.project.answers import Rules
from mipro_walk.project.checking import check_project
from mipro_walk.project.checks import check_rows
from mipro_walk.project.creating import NewProject, copy_sample, write_project
from mipro_walk.project.definition import load_definition
from mipro_walk.project.describing import TaskText, default_description, default_instruction, default_template
from mipro_walk.project.loading import load_project
from mipro_walk.project.rows import Row
from mipro_walk.project.schema import infer_schema
from mipro_walk.project.splitting import split_rows
from mipro_walk.project.tables import read_table

SHARES = {"train": 0.4, "val": 0.3, "test": 0.3}
ANSWERS = {
    "classification": lambda i: "ab"[i % 2],
    "multi_label": lambda i: ["a;b", "b", "c;a"][i % 3],
    "extraction": lambda i: json.dumps({"n": i, "name": None if i % 5 else "x"}),
    "short_answer": lambda i: f"answer {i}",
    "rating": lambda i: str(1 + i % 5),
    "judged": lambda i: f"A long answer to number {i}, in free text.",
}


def new_project(tmp_path: Path, kind: str, columns: tuple[str, ...] = ("text",), extra: str = "") -> NewProject:
    path = tmp_path / "examples.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "out"])
        for i in range(60):
            writer.writerow([*(f"{column} number {i}" for column in columns), ANSWERS[kind](i)])
        file.write(extra)
    table = read_table(path)
    low, high = (1, 5) if kind == "rating" else (None, None)
    rules = Rules(kind, columns, "out", low=low, high=high)  # type: ignore[arg-type]
    checked = check_rows(table, rules)
    splits = split_rows(checked.rows, rules, shares=SHARES, rng_seed=0)
    text = TaskText("my-task", default_description(rules), default_instruction(rules), SHARES, data_name="data.csv")
    labels = dict.fromkeys(checked.labels, "")
    return NewProject(tmp_path / "project", text, rules, table, splits, labels, checked.dropped, "quick-local", path)


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_project_of_every_kind_loads_with_the_rows_that_were_shown(tmp_path: Path, kind: str) -> None:
    new = new_project(tmp_path, kind)
    files = write_project(new)
    project = load_project(new.folder)
    assert project.definition.kind == kind
    for split, rows in new.splits.rows.items():
        assert [row.number for row in project.rows[split]] == [row.number for row in rows]
    assert load_config(new.folder / "mipro_config.toml", environ={}).pools.val.seeds is None
    assert not check_project(new.folder).problems
    assert ("labels.csv" in files) == (kind in ("classification", "multi_label"))
    assert ("schema.json" in files) == (kind == "extraction")


def test_several_columns_get_a_template_with_a_line_for_each(tmp_path: Path) -> None:
    new = new_project(tmp_path, "classification", ("subject", "body"))
    write_project(new)
    assert load_definition(new.folder).template == "Subject: {subject}\n\nBody: {body}"
    assert load_project(new.folder).rows["train"][0].query.startswith("Subject: subject number ")


def test_every_key_of_the_task_is_explained(tmp_path: Path) -> None:
    write_project(new_project(tmp_path, "rating"))
    lines = (tmp_path / "project" / "task.toml").read_text().splitlines()
    keys = [number for number, line in enumerate(lines) if " = " in line and not line.startswith(("#", " "))]
    assert len(keys) >= 12
    assert all(lines[number - 1].startswith("# ") for number in keys)
    assert "# What counts as right. This kind knows exact, within_one, closeness." in lines


def test_folder_and_files_are_the_owners_alone(tmp_path: Path) -> None:
    new = new_project(tmp_path, "extraction", extra="lost,\n")
    files = write_project(new)
    assert "dropped_rows.csv" in files
    assert stat.S_IMODE(new.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE((new.folder / name).stat().st_mode) for name in files} == {0o600}


def test_dropped_rows_are_listed_and_no_spreadsheet_takes_them_for_formulas(tmp_path: Path) -> None:
    new = new_project(tmp_path, "classification", extra="=SUM(A1),\n,a\n")
    write_project(new)
    with (new.folder / "dropped_rows.csv").open(newline="") as file:
        listed = list(csv.reader(file))
    assert listed == [
        ["row", "reason", "text", "out"],
        ["62", "has nothing in 'out'", "'=SUM(A1)", ""],
        ["63", "has nothing in 'text'", "", "a"],
    ]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    new = new_project(tmp_path, "classification")
    new.folder.mkdir()
    (new.folder / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        write_project(new)
    assert [path.name for path in new.folder.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    new = new_project(tmp_path, "classification")
    new.folder.mkdir()
    assert "task.toml" in write_project(new)


def test_force_keeps_the_old_folder_under_another_name(tmp_path: Path) -> None:
    new = new_project(tmp_path, "classification")
    for attempt in ("first", "second"):
        new.folder.mkdir(exist_ok=True)
        (new.folder / "mine.txt").write_text(attempt)
        write_project(new, force=True)
    assert (tmp_path / "project.old-1" / "mine.txt").read_text() == "first"
    assert (tmp_path / "project.old-2" / "mine.txt").read_text() == "second"
    assert not (new.folder / "mine.txt").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error) -> None:
    new = new_project(tmp_path, "classification")
    before = sorted(tmp_path.iterdir())

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(creating, "write_config", fail)
    with pytest.raises((PrerequisiteError, KeyboardInterrupt)):
        write_project(new)
    assert sorted(tmp_path.iterdir()) == before


def test_demonstrations_are_fewer_where_rows_are_long(tmp_path: Path) -> None:
    new = new_project(tmp_path, "classification")
    assert creating.config_overrides(new)["num_demos"] == 10
    long_text = {split: tuple(map(_longer, rows)) for split, rows in new.splits.rows.items()}
    longer = replace(new, splits=replace(new.splits, rows=long_text))
    assert creating.config_overrides(longer)["num_demos"] == 3


def _longer(row: Row) -> Row:
    return replace(row, cells={**row.cells, "text": "word " * 1000})


def test_a_column_with_a_brace_cannot_be_named_in_a_template() -> None:
    with pytest.raises(ConfigError, match="has a brace in its name"):
        default_template(("a{b",))


def _with_nulls(value: object, schema: dict) -> object:
    """Return a value with null for every key that it leaves out."""
    if isinstance(value, list):
        return [_with_nulls(item, schema["items"]) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _with_nulls(value.get(key), inner) for key, inner in schema["properties"].items()}


def test_a_schema_fits_every_object_and_allows_nothing_else() -> None:
    import jsonschema

    objects = [
        {"a": 1, "b": [{"c": "x"}], "d": {"e": True}},
        {"a": 2.5, "b": [], "d": None},
        {"a": None, "b": [{"c": None, "f": 1}], "d": {}},
    ]
    schema = infer_schema(objects)
    for item in objects:
        jsonschema.validate(_with_nulls(item, schema), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**objects[0], "more": 1}, schema)


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_sample_of_every_kind_is_copied_whole_and_can_be_run(tmp_path: Path, kind: str) -> None:
    files = copy_sample(kind, tmp_path / "mine")
    assert {"README.md", "data.csv", "mipro_config.toml", "task.toml"} <= set(files)
    assert not check_project(tmp_path / "mine").problems
    assert "mipro-walk optimize mine" in (tmp_path / "mine" / "README.md").read_text()
    assert {stat.S_IMODE((tmp_path / "mine" / name).stat().st_mode) for name in files} == {0o600}


def test_an_unknown_sample_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no sample of kind 'poems'"):
        copy_sample("poems", tmp_path / "mine")
    assert not list(tmp_path.iterdir())


def test_a_check_names_what_is_wrong_in_every_file_at_once(tmp_path: Path) -> None:
    new = new_project(tmp_path, "classification")
    write_project(new)
    task, config = new.folder / "task.toml", new.folder / "mipro_config.toml"
    task.write_text(task.read_text().replace("test = 0.3", "test = 0.4").replace('target = "out"', 'target = "outt"'))
    config.write_text(config.read_text().replace("num_demos", "num_demoss"))
    found = check_project(new.folder)
    assert [problem.split(": ")[0] for problem in found.problems] == ["task.toml", "data.csv", "mipro_config.toml"]
    assert "Did you mean 'out'?" in found.problems[1]
    assert "Did you mean 'num_demos'?" in found.problems[2]


def test_a_check_sees_what_does_not_fit_together(tmp_path: Path) -> None:
    new = new_project(tmp_path, "classification")
    write_project(new)
    config = new.folder / "mipro_config.toml"
    text = config.read_text().replace("num_demos = 10", "num_demos = 30").replace("test_size = 18", "test_size = 19")
    config.write_text(text)
    assert [problem.partition(": ")[2] for problem in check_project(new.folder).problems] == [
        "num_demos = 30 is larger than the train pool (24 rows).",
        "test_size = 19, but test has 18 rows.",
    ]


def test_a_check_of_data_that_got_worse_names_rows_and_fix(tmp_path: Path) -> None:
    new = new_project(tmp_path, "classification")
    write_project(new)
    data = new.folder / "data.csv"
    data.write_text(data.read_text().replace(",b", ",a"))
    found = check_project(new.folder)
    assert found.problems == ("task.toml: Every usable row has the label 'a': there is nothing to tell apart.",)
