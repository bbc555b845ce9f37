"""Prices: known, free, or unknown, and never a guess."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mipro_walk.clients.pricing import TokenUsage, price


def test_the_local_model_is_free() -> None:
    assert price("local", "anything", TokenUsage(10, 10)) == 0.0


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "no-such-model"), ("nobody", "gpt-4o-mini"), ("custom", "m")]
)
def test_an_unknown_price_is_none_and_never_zero(provider: str, model: str) -> None:
    assert price(provider, model, TokenUsage(10, 10), "http://127.0.0.1:1/v1") is None


def test_cached_tokens_cost_less_and_dated_model_names_are_known() -> None:
    full = price("openai", "gpt-4o-mini-2024-07-18", TokenUsage(1000, 100))
    cached = price("openai", "gpt-4o-mini", TokenUsage(1000, 100, 800))
    assert full is not None
    assert cached is not None
    assert 0 < cached < full


def test_a_custom_address_of_a_known_provider_has_its_prices() -> None:
    usage = TokenUsage(1_000_000, 0)
    by_address = price("custom", "llama-3.1-8b-instant", usage, "https://api.groq.com/openai/v1")
    assert by_address == price("groq", "llama-3.1-8b-instant", usage)
    assert by_address


def test_the_price_list_is_loaded_late() -> None:
    code = "import sys, mipro_walk.clients.chat; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=_environ()).returncode == 0


def _environ() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(path for path in sys.path if path)}
