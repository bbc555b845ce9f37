"""Every numeric key at, inside and beyond its limits; the cases come from the models themselves."""

from __future__ import annotations

from typing import Any

import pytest

from mipro_walk.config import parse_config
from mipro_walk.config.problems import plain_type
from mipro_walk.config.published import GEPA
from mipro_walk.config.sections import SECTIONS
from mipro_walk.errors import ConfigError

NUMBERS = [
    (table, key, info)
    for table, section in SECTIONS.items()
    for key, info in section.model_fields.items()
    if plain_type(info.annotation) in (int, float)
]
FLAGS = [
    (table, key)
    for table, section in SECTIONS.items()
    for key, info in section.model_fields.items()
    if plain_type(info.annotation) is bool
]


def limits(info: Any) -> dict[str, float]:
    return {name: getattr(m, name) for m in info.metadata for name in ("ge", "gt", "le") if hasattr(m, name)}


def document(table: str, key: str, value: Any) -> dict[str, Any]:
    inner: dict[str, Any] = {key: value}
    if key.endswith("_price_per_million"):
        inner = {"input_price_per_million": 1.0, "output_price_per_million": 1.0, key: value}
    for step in reversed(table.split(".")):
        inner = {step: inner}
    if table == GEPA:
        inner["prompt_learning"]["algorithm"] = "gepa"  # else its table is left alone
    return inner


def accepted_cases() -> list[Any]:
    cases = []
    for table, key, info in NUMBERS:
        found, is_int = limits(info), plain_type(info.annotation) is int
        low = found.get("ge", 1e-09)
        cases += [pytest.param(table, key, value, id=f"{key}={value}") for value in (low, found["le"])]
        if not is_int:
            cases.append(pytest.param(table, key, 1, id=f"{key}=1 as whole number"))
    return cases


def refused_cases() -> list[Any]:
    cases = []
    for table, key, info in NUMBERS:
        found, is_int = limits(info), plain_type(info.annotation) is int
        below = found["gt"] if "gt" in found else found["ge"] - (1 if is_int else 1e-9)
        above = found["le"] + (1 if is_int else 1e-3)
        values = [below, above, -(10**9), 10**30, 10**400, True, "1", [1], {}, float("nan"), float("inf")]
        values += [found["le"] / 2 + 0.5 if is_int else -float("inf")]
        cases += [pytest.param(table, key, value, id=f"{key}-{i}") for i, value in enumerate(values)]
    return cases


def test_every_number_has_both_limits() -> None:
    assert len(NUMBERS) >= 18
    for _, key, info in NUMBERS:
        assert len(limits(info)) == 2, key


@pytest.mark.parametrize(("table", "key", "value"), accepted_cases())
def test_a_number_at_its_limit_is_accepted_and_survives(table: str, key: str, value: Any) -> None:
    config = parse_config(document(table, key, value), origin="test", environ={})
    resolved: Any = config.as_dict()
    for step in table.split("."):
        resolved = resolved[step]
    assert resolved[key] == value


@pytest.mark.parametrize(("table", "key", "value"), refused_cases())
def test_a_number_beyond_its_limit_or_of_another_type_is_refused(table: str, key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(document(table, key, value), origin="test", environ={})
    (problem,) = caught.value.problems
    assert f"{table}.{key} = " in problem
    assert " must be a" in problem


@pytest.mark.parametrize(("table", "key"), FLAGS)
@pytest.mark.parametrize("value", [0, 1, "true", "", []])
def test_only_true_and_false_are_flags(table: str, key: str, value: Any) -> None:
    with pytest.raises(ConfigError):
        parse_config(document(table, key, value), origin="test", environ={})
