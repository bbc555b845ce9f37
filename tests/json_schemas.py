"""The published schemas of JSON outputs, and whether they would notice a key that changes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import jsonschema

EVAL, MODELS_TEST = "eval", "models_test"


def validator(name: str) -> jsonschema.Draft202012Validator:
    """Return the validator of the schema that the installed package ships."""
    text = (resources.files("mipro_walk.results") / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
    schema = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def require_valid(name: str, document: Any) -> None:
    """Raise ``jsonschema.ValidationError`` unless ``document`` follows the schema."""
    validator(name).validate(document)


def unnoticed_changes(name: str, document: Any) -> list[str]:
    """Return the keys of ``document``, as paths, that could vanish or be renamed without the schema noticing."""
    check, found = validator(name), []
    for path in _keys(document):
        for words, change in (("dropped", _drop), ("renamed", _rename)):
            changed = copy.deepcopy(document)
            place = changed
            for step in path[:-1]:
                place = place[step]
            change(place, path[-1])
            if check.is_valid(changed):
                found.append(f"{'.'.join(map(str, path))} {words}")
    return found


def _keys(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from _keys(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:2]):
            yield from _keys(inner, (*path, index))


def _drop(place: dict[str, Any], key: str) -> None:
    del place[key]


def _rename(place: dict[str, Any], key: str) -> None:
    place[f"{key}_2"] = place.pop(key)
