"""A JSON schema from the objects that are to be extracted: a first version for a person to correct."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_DEPTH = 8
_TYPES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
    dict: "object",
    list: "array",
}


def infer_schema(objects: Sequence[dict[str, Any]], depth: int = 0) -> dict[str, Any]:
    """Return a schema that every object fits: all keys are listed and, null where one is missing, required.

    So the schema is *strict* as endpoints mean it: no property is optional or unknown.
    """
    keys = dict.fromkeys(key for item in objects for key in item)
    return {
        "type": "object",
        "properties": {key: _of([item.get(key) for item in objects], depth + 1) for key in keys},
        "required": list(keys),
        "additionalProperties": False,
    }


def _of(values: Sequence[Any], depth: int) -> dict[str, Any]:
    kinds = dict.fromkeys(_TYPES[type(value)] for value in values)
    if "number" in kinds:
        kinds.pop("integer", None)
    schema: dict[str, Any] = {"type": next(iter(kinds)) if len(kinds) == 1 else list(kinds)}
    if "object" in kinds and depth < MAX_DEPTH:
        inner = infer_schema([value for value in values if isinstance(value, dict)], depth)
        schema |= {key: value for key, value in inner.items() if key != "type"}
    if "array" in kinds and depth < MAX_DEPTH:
        items = [item for value in values if isinstance(value, list) for item in value]
        schema["items"] = _of(items, depth + 1) if items else {}
    return schema
