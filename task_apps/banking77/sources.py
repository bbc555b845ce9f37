"""Where rows come from: a path, the hub, or the shipped sample. One is chosen, by name; none stands in for another.

`datasets` is imported only for a path or the hub: it takes seconds to import, and the sample needs none of it.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from .data import DataError, Row, SourceInfo, TaskData, build_task_data

SAMPLE_FILE: Final = Path(__file__).parent / "sample" / "banking_queries.csv"
HUB_DATASET: Final = "PolyAI/banking77"
# A commit that holds plain Parquet files beside the old loading script, which `datasets` 4 and later refuse.
HUB_REVISION: Final = "796a4623935746f71378f0ebd435635a8ce08e50"
HUB_FILES: Final = {
    "train": "data/train-00000-of-00001.parquet",
    "test": "data/test-00000-of-00001.parquet",
}
TEXT_COLUMNS: Final = ("text", "query")
LABEL_COLUMNS: Final = ("category", "label", "intent", "label_text")
SPLIT_NAMES: Final = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
FORMATS: Final = {".csv": "csv", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}


@dataclass(frozen=True, slots=True)
class DataSource:
    """Which rows to serve.

    Attributes:
        kind: `path` needs `path`; the others ignore it.
    """

    kind: Literal["path", "hub", "sample"] = "sample"
    path: Path | None = None


def load_task_data(source: DataSource) -> TaskData:
    """Read, clean and order the rows of one source.

    Raises:
        DataError: if it cannot be read or used. No other source is tried.
    """
    if source.kind == "sample":
        return _load_sample()
    if source.kind == "hub":
        return _load_hub()
    if source.path is None:
        raise DataError("No path given. Pass --data PATH.")
    return _load_path(source.path)


def _load_sample() -> TaskData:
    info = SourceInfo("sample", "hand-written sample shipped with the project", "Apache-2.0")
    try:
        with SAMPLE_FILE.open(encoding="utf-8", newline="") as file:
            records = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"The shipped sample cannot be read: {error}. Reinstall, or pass --data PATH.") from error
    return build_task_data(info, _split_records(records, SAMPLE_FILE.name))


def _load_path(path: Path) -> TaskData:
    if path.is_dir():
        files = {name: path / f"{name}.csv" for name in ("train", "val", "test")}
        present = {name: file for name, file in files.items() if file.is_file()}
        if "train" not in present:
            raise DataError(f"The folder {str(path)!r} holds no train.csv. Put train.csv (and test.csv) there.")
        raw = {name: _rows(_read_file(file), file.name) for name, file in present.items()}
    elif path.is_file():
        raw = _split_records(_read_file(path), path.name)
    else:
        raise DataError(f"{str(path)!r} is not a file or folder. Check --data.")
    return build_task_data(SourceInfo("path", str(path), "as stated by the owner of the files"), raw)


def _load_hub() -> TaskData:
    import datasets

    urls = {name: f"hf://datasets/{HUB_DATASET}@{HUB_REVISION}/{file}" for name, file in HUB_FILES.items()}
    try:
        loaded = datasets.load_dataset("parquet", data_files=urls)
        raw = {name: _rows(_records(loaded[name]), f"hub {name}") for name in HUB_FILES}
    except DataError:
        raise
    # Offline, proxy, authentication and parsing failures have no common base class in `datasets`.
    except Exception as error:
        raise DataError(
            f"{HUB_DATASET} could not be loaded from the hub ({type(error).__name__}). Check the network, "
            "or use --data PATH with local files, or leave --source out for the shipped sample."
        ) from error
    info = SourceInfo("hub", f"{HUB_DATASET}@{HUB_REVISION}", "CC-BY-4.0 (Casanueva et al. 2020)")
    return build_task_data(info, raw)


def _read_file(path: Path) -> list[dict[str, Any]]:
    """Read one file through `datasets`, all columns of a CSV as text ("NA" and "007" stay what they are)."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise DataError(f"{path.name} has an unknown format. Use one of: {', '.join(FORMATS)}.")
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty.")
    import datasets

    # The rows are kept in memory; a private cache folder keeps a changed file from being served stale.
    with tempfile.TemporaryDirectory(prefix="task-app-data-") as cache:
        options: dict[str, Any] = {"keep_in_memory": True, "cache_dir": cache}
        try:
            datasets.disable_progress_bars()
            if kind == "csv":
                return _records(_read_csv(datasets, path, options))
            reader = datasets.Dataset.from_json if kind == "json" else datasets.Dataset.from_parquet
            return _records(reader(str(path), **options))
        except DataError:
            raise
        # pandas, pyarrow and `datasets` each raise their own kinds for a damaged file.
        except Exception as error:
            reason = str(error.__cause__ or error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise DataError(f"{path.name} cannot be read as {kind.upper()}: {reason}") from error


def _read_csv(datasets: Any, path: Path, options: dict[str, Any]) -> Any:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if next(reader, None) is None:
            raise DataError(f"{path.name} holds no rows.")
    if len(set(header)) < len(header):
        raise DataError(f"{path.name} has a column name twice: {', '.join(header)}.")
    features = datasets.Features({name: datasets.Value("string") for name in header})
    return datasets.Dataset.from_csv(
        str(path), features=features, encoding="utf-8-sig", keep_default_na=False, **options
    )


def _records(dataset: Any) -> list[dict[str, Any]]:
    """Return rows as dictionaries, class numbers replaced by their names."""
    records: list[dict[str, Any]] = dataset.to_list()
    for column, feature in dataset.features.items():
        if hasattr(feature, "int2str"):
            for record in records:
                record[column] = feature.int2str(record[column])
    return records


def _split_records(records: list[dict[str, Any]], name: str) -> dict[str, list[Row]]:
    """Group the records of one file by their split column; without one, all are train."""
    if not records or "split" not in records[0]:
        return {"train": _rows(records, name)}
    groups: dict[str, list[dict[str, Any]]] = {}
    for number, record in enumerate(records, 1):
        split = SPLIT_NAMES.get(str(record["split"]).strip().lower())
        if split is None:
            raise DataError(f"Row {number} of {name} has the split {record['split']!r}; use train, val or test.")
        groups.setdefault(split, []).append(record)
    return {split: _rows(group, f"{name} ({split})") for split, group in groups.items()}


def _rows(records: Iterable[Mapping[str, Any]], name: str) -> list[Row]:
    records = list(records)
    if not records:
        raise DataError(f"{name} holds no rows.")
    text_column = _column(records[0], TEXT_COLUMNS, name)
    label_column = _column(records[0], LABEL_COLUMNS, name)
    rows = []
    for number, record in enumerate(records, 1):
        text, label = record.get(text_column), record.get(label_column)
        if not isinstance(text, str) or not isinstance(label, str):
            shown = json.dumps(label if isinstance(text, str) else text, default=str)[:40]
            raise DataError(f"Row {number} of {name} needs text and label as text, found {shown}.")
        rows.append(Row(text.strip(), label.strip()))
    return rows


def _column(record: Mapping[str, Any], names: tuple[str, ...], file: str) -> str:
    for name in names:
        if name in record:
            return name
    found = ", ".join(map(str, record)) or "none"
    raise DataError(f"{file} has no column {' or '.join(names)} (found: {found}).")
