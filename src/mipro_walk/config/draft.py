"""Sorts the keys of a document into their own places, before any value is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mipro_walk.config.problems import Problems, show
from mipro_walk.config.published import (
    CLIENT_DEFAULTS,
    IGNORED,
    IGNORED_PREFIXES,
    MIPRO,
    PLAIN_HOMES,
    REFUSED,
    ROOT,
    ROUTES,
    SHARED,
    SUBTABLES,
    TOP,
    Place,
)
from mipro_walk.config.sections import SECTIONS


@dataclass
class Draft:
    """A document on its way: values by their own place, and where each was written.

    Attributes:
        algorithm: as written, right or wrong: the tables of the other one are left alone.
        sources: for each place, the dotted key as it was written, or the name of a variable or flag.
        env_config, initial_prompt: the free tables as written.
    """

    problems: Problems
    is_file: bool
    algorithm: object = "mipro"
    values: dict[Place, Any] = field(default_factory=dict)
    sources: dict[Place, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    env_config: Any = field(default_factory=dict)
    initial_prompt: Any = None

    def dotted(self, place: Place) -> str:
        """Return how the key was written, else its own name."""
        return self.sources.get(place, f"{place[0]}.{place[1]}")

    def override(self, place: Place, value: Any, source: str) -> None:
        """Set a value from outside the document."""
        self.values[place], self.sources[place] = value, source


def read_document(data: Mapping[str, Any], problems: Problems, *, is_file: bool) -> Draft:
    """Sort every key of ``data`` into its own place; note the unknown ones."""
    draft = Draft(problems, is_file)
    if not isinstance(data, Mapping) or not isinstance(data.get(ROOT), Mapping):
        problems.add("", f"The table [{ROOT}] is missing.")
        problems.raise_if_any()
    draft.algorithm = data[ROOT].get("algorithm", "mipro")
    _read_table(draft, TOP, data)
    return draft


def _read_table(draft: Draft, table: str, content: Mapping[str, Any]) -> None:
    for key, value in content.items():
        where = f"{table}.{key}".lstrip(".")
        if value is None:  # JSON null: not said
            continue
        if key in SUBTABLES.get(table, ()):
            _read_subtable(draft, where, key, value)
        elif (table, key) in REFUSED:
            draft.problems.add(where, f"{where}{draft.problems.at(where)} is not accepted. {REFUSED[(table, key)]}")
        elif table == MIPRO and draft.algorithm == "gepa" and ROUTES[MIPRO].get(key, ("",))[0] == MIPRO:
            _put_shared(draft, key, value, where)
        elif key in ROUTES[table]:
            _put(draft, ROUTES[table][key], value, where)
        elif _is_ignored(table, key):
            draft.ignored.append(where)
        else:
            known = [*ROUTES[table], *SUBTABLES.get(table, ()), *IGNORED[table]]
            draft.problems.unknown(table, str(key), known, _home_of(str(key)))


def _read_subtable(draft: Draft, where: str, key: str, value: Any) -> None:
    if key == "gepa" and draft.algorithm != "gepa":
        draft.ignored.append(where)
    elif not isinstance(value, Mapping):
        draft.problems.add(where, f"{where} = {show(value)}{draft.problems.at(where)}: must be a table, [{where}].")
    elif key == "env_config":
        draft.env_config = value
    elif key == "initial_prompt":
        draft.initial_prompt = value
    else:
        _read_table(draft, where, value)


def _put_shared(draft: Draft, key: str, value: Any, where: str) -> None:
    """Take from MIPRO's table what both algorithms share; the rest is MIPRO's alone."""
    if key in SHARED:
        _put(draft, (MIPRO, key), value, where)
    else:
        draft.ignored.append(where)


def _put(draft: Draft, place: Place, value: Any, where: str) -> None:
    """Store a value; the same thing said twice must be the same."""
    table, _, key = where.rpartition(".")
    is_client_default = not draft.is_file and CLIENT_DEFAULTS.get((table, key)) == value
    if place not in draft.values:
        draft.override(place, value, where)
    elif _same(draft.values[place], value):
        return
    elif is_client_default:
        draft.ignored.append(where)
    elif not draft.is_file and _was_client_default(draft, place):
        draft.ignored.append(draft.sources[place])
        draft.override(place, value, where)
    else:
        first = draft.sources[place]
        said = "" if place[1] == "task_app_api_key" else f" ({show(draft.values[place])} and {show(value)})"
        draft.problems.add(
            where, f"{where}{draft.problems.at(where)} and {first} say different things{said}. Keep one."
        )


def _was_client_default(draft: Draft, place: Place) -> bool:
    table, _, key = draft.sources[place].rpartition(".")
    return (table, key) in CLIENT_DEFAULTS and CLIENT_DEFAULTS[(table, key)] == draft.values[place]


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _is_ignored(table: str, key: str) -> bool:
    prefix = IGNORED_PREFIXES.get(table)
    return key in IGNORED[table] or bool(prefix and key.startswith(prefix))


def _home_of(key: str) -> str | None:
    return next((table for table in PLAIN_HOMES if key in SECTIONS[table].model_fields), None)
