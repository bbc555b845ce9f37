"""Reading rows from files, the shipped sample and the hub."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from task_apps.banking77 import sources
from task_apps.banking77.data import EVERYDAY_10, DataError, TaskData
from task_apps.banking77.sources import DataSource, load_task_data


def write_csv(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def load(path: Path) -> TaskData:
    return load_task_data(DataSource("path", path))


@pytest.fixture
def table(kit: Any) -> list[list[str]]:
    return [[row.text, row.label, split] for split in ("train", "val", "test") for row in kit.make_rows(split, 3)]


def test_folder_with_train_and_test_is_read_and_val_carved(tmp_path: Path, kit: Any) -> None:
    for name in ("train", "test"):
        rows = [[row.text, row.label] for row in kit.make_rows(name, 10)]
        write_csv(tmp_path / f"{name}.csv", ["text", "category"], rows)
    data = load(tmp_path)
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 32, "val": 8, "test": 40}
    assert (data.source.name, data.source.detail) == ("path", str(tmp_path))


@pytest.mark.parametrize("label_column", ["category", "label", "intent"])
@pytest.mark.parametrize("text_column", ["text", "query"])
def test_one_csv_with_a_split_column_is_read_under_any_known_name(
    tmp_path: Path, table: list[list[str]], text_column: str, label_column: str
) -> None:
    data = load(write_csv(tmp_path / "all.csv", [text_column, label_column, "split"], table))
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 12, "val": 12, "test": 12}


def test_all_formats_of_the_same_rows_give_the_same_order(tmp_path: Path, table: list[list[str]]) -> None:
    import datasets

    names = ["text", "category", "split"]
    records = [dict(zip(names, row, strict=True)) for row in table]
    csv_file = write_csv(tmp_path / "a.csv", names, table)
    jsonl = tmp_path / "a.jsonl"
    jsonl.write_text("".join(json.dumps(record) + "\n" for record in records))
    parquet = tmp_path / "a.parquet"
    datasets.Dataset.from_list(records).to_parquet(str(parquet))
    assert load(csv_file).splits == load(jsonl).splits == load(parquet).splits


def test_class_numbers_of_parquet_become_their_names(tmp_path: Path, kit: Any) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = [{"text": f"t{n}", "label": n % 2} for n in range(40)]
    file = tmp_path / "a.parquet"
    datasets.Dataset.from_list(rows, features=features).to_parquet(str(file))
    assert load(file).labels == ("no", "yes")


def test_csv_values_stay_text_even_if_they_look_like_numbers_or_nothing(tmp_path: Path) -> None:
    odd = ["NA", "null", "007", "1e5", "nan", "True", "2020-01-01", 'say "hi", twice\nplease', "Ünï", "‮x"]
    rows = [[text, label] for text in odd for label in ("None", "01")]
    rows = [[f"{text} {label}" if label == "01" else text, label] for text, label in rows]
    file = tmp_path / "odd.csv"
    write_csv(file, ["text", "label"], rows)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    data = load(file)
    assert data.labels == ("01", "None")
    found = {row.text for split in data.splits.values() for row in split}
    assert found == {text.replace("\r\n", "\n") for text, _ in rows}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "empty.csv is empty"),
        ("header.csv", b"text,label\n", "header.csv holds no rows"),
        ("columns.csv", b"a,b\n1,2\n", r"no column text or query \(found: a, b\)"),
        ("twice.csv", b"text,text\n1,2\n", "column name twice"),
        ("latin.csv", b"text,label\ncaf\xe9,x\n", "cannot be read|valid"),
        ("ragged.csv", b"text,label\na,b\nc,d,e,f\n", "ragged.csv cannot be read as CSV"),
        ("split.csv", b"text,label,split\na,b,holdout\n", "Row 1 of split.csv has the split 'holdout'"),
        ("broken.jsonl", b'{"text": "a", "label"', "broken.jsonl cannot be read as JSON"),
        ("number.jsonl", b'{"text": "a", "label": 3}\n', "found 3"),
        ("broken.parquet", b"PAR1 no", "broken.parquet cannot be read as PARQUET"),
        ("rows.txt", b"a", "unknown format"),
    ],
)
def test_damaged_file_is_refused_by_name_with_the_reason(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path / name)


def test_missing_path_and_folder_without_train_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a file or folder"):
        load(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"no train\.csv"):
        load(tmp_path)


def test_reading_a_file_leaves_nothing_behind(tmp_path: Path, table: list[list[str]]) -> None:
    file = write_csv(tmp_path / "a.csv", ["text", "label", "split"], table)
    load(file)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_unreachable_hub_is_an_error_and_not_another_source(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(DataError, match=r"could not be loaded from the hub \(ConnectionError\)"):
        load_task_data(DataSource("hub"))


def test_hub_rows_are_asked_for_at_a_pinned_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: dict[str, str] = {}
    names = [*EVERYDAY_10, "other"]
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})

    def load_dataset(kind: str, data_files: dict[str, str]) -> Any:
        asked.update(data_files, kind=kind)
        return {
            split: datasets.Dataset.from_list(
                [{"text": f"{split} {n}", "label": n % 11} for n in range(110)], features=features
            )
            for split in data_files
        }

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = load_task_data(DataSource("hub"))
    assert asked["kind"] == "parquet"
    assert asked["test"].startswith(f"hf://datasets/PolyAI/banking77@{sources.HUB_REVISION}/")
    assert len(sources.HUB_REVISION) == 40
    assert data.labels[:10] == EVERYDAY_10
    assert sources.HUB_REVISION in data.source.detail


def test_shipped_sample_serves_all_77_intents_in_balance() -> None:
    data = load_task_data(DataSource())
    assert (len(data.labels), data.source.name, data.notes) == (77, "sample", ())
    for pool in data.slice().pools.values():
        assert len({row.label for row in pool.rows[:77]}) == 77
    assert data.labels[:10] == EVERYDAY_10


def test_missing_sample_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sources, "SAMPLE_FILE", tmp_path / "gone.csv")
    with pytest.raises(DataError, match="shipped sample cannot be read"):
        load_task_data(DataSource())


def test_serving_the_sample_never_imports_datasets() -> None:
    code = (
        "import sys; from task_apps.banking77.app import create_app; "
        "from task_apps.serving.settings import Settings; create_app(Settings('k' * 32)); "
        "assert not {'datasets', 'pandas', 'pyarrow', 'mipro_walk'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.fixture(scope="module")
def real(real_folder: Path) -> TaskData:
    return load(real_folder)


def test_published_files_have_the_published_size_and_lose_only_overlaps(real: TaskData) -> None:
    assert len(real.labels) == 77
    assert {name: len(rows) for name, rows in real.splits.items()} == {"train": 9231, "val": 765, "test": 3080}
    assert "train: 7 rows dropped whose text is also in test" in real.notes


def test_published_files_are_served_in_balance_though_they_are_sorted_by_label(real: TaskData) -> None:
    for size in (10, 77):
        for pool in real.slice(size).pools.values():
            for rounds in (1, 2):
                counts = Counter(row.label for row in pool.rows[: size * rounds])
                assert set(counts.values()) == {rounds}, pool.split
    assert real.slice(10).labels == EVERYDAY_10


def test_published_rows_come_through_unchanged(real: TaskData, real_folder: Path) -> None:
    with (real_folder / "test.csv").open(encoding="utf-8", newline="") as file:
        expected = Counter((row["text"].strip(), row["category"]) for row in csv.DictReader(file))
    assert Counter((row.text, row.label) for row in real.splits["test"]) == expected
