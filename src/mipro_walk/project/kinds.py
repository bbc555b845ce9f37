"""From a definition to the scorer of its kind."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from mipro_walk.errors import ConfigError
from mipro_walk.project.definition import Definition
from mipro_walk.project.scorers.base import Scorer

MAX_SIDE_FILE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Labels:
    """A list of labels with what they mean, where that is said. Empty: the data's own labels."""

    values: tuple[str, ...] = ()
    descriptions: dict[str, str] = field(default_factory=dict)


def load_labels(definition: Definition) -> Labels:
    """Return the labels that ``[labels]`` names.

    Raises:
        ConfigError: the file cannot be read or used.
    """
    section = definition.labels
    if section.values is not None:
        return Labels(tuple(section.values))
    if section.file is None:
        return Labels()
    path = definition.folder / section.file
    reader = csv.DictReader(io.StringIO(read_side_file(path)))
    if "label" not in (reader.fieldnames or []):
        raise ConfigError(f"{path} has no column 'label'.", "Its first line must be: label,description")
    found: dict[str, str] = {}
    for line in reader:
        label = (line["label"] or "").strip()
        if label in found:
            raise ConfigError(f"{path} holds the label {label!r} twice (line {reader.line_num}).", "Keep one.")
        if label:
            found[label] = (line.get("description") or "").strip()
    if len(found) < 2:
        raise ConfigError(f"{path} holds fewer than two labels.", "List every possible label, one a line.")
    return Labels(tuple(found), {label: text for label, text in found.items() if text})


def make_scorer(definition: Definition, labels: Labels, in_data: Sequence[str] = ()) -> Scorer:
    """Return the scorer of a definition; ``in_data`` are the labels of the data, used where none are listed.

    Raises:
        ConfigError: the schema of an extraction cannot be read or used.
    """
    scoring, metric = definition.scoring, cast(Any, definition.metric)
    values = labels.values or tuple(in_data)
    if definition.kind == "classification":
        from mipro_walk.project.scorers.classification import Classification

        return Classification(values, labels.descriptions)
    if definition.kind == "multi_label":
        from mipro_walk.project.scorers.multi_label import MultiLabel

        return MultiLabel(values, definition.labels.separator, metric, labels.descriptions)
    if definition.kind == "extraction":
        from mipro_walk.project.scorers.extraction import Extraction

        return Extraction(load_schema(definition), metric)
    if definition.kind == "short_answer":
        from mipro_walk.project.scorers.short_answer import ShortAnswer

        return ShortAnswer(scoring.separator, metric)
    if definition.kind == "rating":
        from mipro_walk.project.scorers.rating import Rating

        assert scoring.low is not None
        assert scoring.high is not None
        return Rating(scoring.low, scoring.high, metric)
    from mipro_walk.project.scorers.judged import Judged

    low, high = (1, 5) if scoring.low is None or scoring.high is None else (scoring.low, scoring.high)
    return Judged(scoring.rubric or "", low, high, scoring.noise_rows)


def load_schema(definition: Definition) -> dict[str, Any]:
    """Return the JSON schema that ``[scoring]`` names."""
    path = definition.folder / str(definition.scoring.schema_file)
    try:
        schema = json.loads(read_side_file(path))
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path} is not JSON: {str(exc)[:100]}.", "Correct it.") from None
    if not isinstance(schema, dict):
        raise ConfigError(f"{path} is no JSON schema of an object.", 'Start with {"type": "object", …}.')
    return schema


def read_side_file(path: Path) -> str:
    """Return the text of a small file of the project; a byte order mark is left out.

    Raises:
        ConfigError: missing, too large, or not UTF-8.
    """
    try:
        if not path.is_file():
            raise ConfigError(f"There is no file {str(path)!r}.", "Correct the path in task.toml.")
        if path.stat().st_size > MAX_SIDE_FILE_BYTES:
            raise ConfigError(f"{str(path)!r} is larger than {MAX_SIDE_FILE_BYTES:,} bytes.", "Shorten it.")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{str(path)!r} is not UTF-8 (byte {exc.start}).", "Save it as UTF-8.") from None
    except OSError as exc:
        raise ConfigError(f"Cannot read {str(path)!r}: {exc.strerror}.", "Check the file's permissions.") from None
