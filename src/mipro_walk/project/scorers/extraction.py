"""Fields of a JSON object by a schema. Answer: the object, ``{"date": "2024-05-01", "amount": 12.5}``.

A field is right if its value equals the expected one: texts by case and spaces evened out, numbers by value, lists
item by item, objects key by key. ``null`` and a missing field are the same. Metrics: ``fields`` (the share of right
fields, of those that the expected answer or the given one has; the default) and ``exact`` (all of them).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jsonschema

from mipro_walk.errors import ConfigError
from mipro_walk.project.scorers.base import AnswerForm, BadTargetError, Json, UnreadableError
from mipro_walk.project.scorers.reading import canonical_json, folded, json_value, plain


class Extraction:
    """See the module."""

    def __init__(self, schema: Json, metric: Literal["fields", "exact"] = "fields") -> None:
        """Raises ConfigError for a schema that is none, or none of an object with properties."""
        try:
            validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
            validator.check_schema(schema)
        except jsonschema.SchemaError as exc:
            raise ConfigError(f"The answer's schema is not valid: {exc.message[:200]}", "Correct it.") from exc
        properties = schema.get("properties")
        if schema.get("type") != "object" or not isinstance(properties, dict) or not properties:
            raise ConfigError(
                "The answer's schema must be of an object with properties.", 'Start with {"type": "object", …}.'
            )
        if "$ref" in canonical_json(schema):
            # A reference could name a file or an address; local ones are rarely needed in a flat answer.
            raise ConfigError("The answer's schema uses $ref.", "Write the definition where it is used.")
        self._schema = schema
        self._fields: tuple[str, ...] = tuple(properties)
        self._validator = validator(schema)
        self._metric = metric

    def form(self) -> AnswerForm:
        """The schema itself."""
        return AnswerForm(
            self._schema,
            f"Answer with one JSON object with the fields {', '.join(self._fields)}, and with nothing else. "
            f"Its JSON schema: {canonical_json(self._schema)}",
        )

    def target(self, cell: str) -> str:
        """The object, its fields in the order of the schema."""
        try:
            value = json_value(cell)
        except UnreadableError:
            raise BadTargetError(f"{cell[:60]!r} is not JSON") from None
        if problem := self._problem(value):
            raise BadTargetError(f"does not follow the schema: {problem}")
        return self._canonical(value)

    def shown(self, target: str) -> str:
        """The same."""
        return target

    def read_answer(self, text: str) -> str:
        """The object, whether or not all of it follows the schema: each field is looked at by itself."""
        value = json_value(plain(text))
        if not isinstance(value, dict):
            raise UnreadableError("not_an_object")
        return self._canonical(value)

    def score(self, answer: str | None, expected: str) -> tuple[float, Mapping[str, float]]:
        """The metric; figures are both metrics and each field."""
        right = json_value(expected)
        given = {} if answer is None else json_value(answer)
        counted = [name for name in {**right, **given} if right.get(name) is not None or given.get(name) is not None]
        matched = {name: float(_same(given.get(name), right.get(name))) for name in counted}
        share = sum(matched.values()) / len(counted) if counted else 1.0
        share = 0.0 if answer is None else share
        figures = {"exact": float(share == 1.0), "fields": share}
        figures |= {f"field {name}": matched[name] for name in self._fields if name in matched}
        return figures[self._metric], figures

    def _problem(self, value: Any) -> str:
        error = next(iter(self._validator.iter_errors(value)), None)
        if error is None:
            return ""
        where = ".".join(map(str, error.absolute_path))
        return f"{where + ': ' if where else ''}{error.message[:120]}"

    def _canonical(self, value: Json) -> str:
        known = {name: value[name] for name in self._fields if name in value}
        return canonical_json({**known, **{name: value[name] for name in value if name not in known}})


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return bool(one == other)
    if isinstance(one, str) and isinstance(other, str):
        return folded(one) == folded(other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_same(one.get(name), other.get(name)) for name in {**one, **other})
    return one is None and other is None
