"""Whatever is thrown at it, a configuration is either refused in words or means the same when read again."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mipro_walk.config import load_config, parse_config
from mipro_walk.config.published import IGNORED, ROUTES, SUBTABLES
from mipro_walk.errors import ConfigError

KEYS = sorted(
    {key for part in (ROUTES, IGNORED) for keys in part.values() for key in keys} | set(SUBTABLES["prompt_learning"])
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(0, 20),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["mipro", "openai", "local", "custom", "train", "val", "http://127.0.0.1:1"]),
    st.binary(max_size=3),
)
VALUES: Any = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_document_is_refused_in_words_or_survives_a_round_trip(root: dict[str, Any]) -> None:
    problems: list[str] = []
    config = None
    try:
        config = parse_config({"prompt_learning": root}, origin="fuzz", environ={})
    except ConfigError as exc:
        problems = exc.problems
    assert all(char.isprintable() for problem in problems for char in problem)
    assert (config is None) == bool(problems)
    assert config is None or parse_config(config.as_dict(), origin="again", environ={}) == config


@pytest.mark.parametrize("prefix", ["", "[prompt_learning]\n", "[prompt_learning.mipro]\nnum_demos = "])
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=200) | st.text(alphabet="[]{}=.,\"'#\n\\ax01-:_ ", max_size=200).map(str.encode))
def test_any_bytes_are_a_configuration_or_refused(tmp_path: Path, prefix: str, content: bytes) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(prefix.encode() + content)
    with contextlib.suppress(ConfigError):
        load_config(path, environ={})
