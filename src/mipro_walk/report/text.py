"""How values are written on the page: numbers, money, long and foreign texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mipro_walk.plain_text import show_invisible

MAX_TEXT = 20_000
"""Characters of one text on the page; the files hold the whole of it."""
MAX_QUERY = 600
MAX_NAME = 120
SHOWN_VALUES = 12

Facts = list[tuple[str, str]]


def plain(value: Any) -> Any:
    """Return a document with every invisible character of its texts, keys included, written as an escape."""
    if isinstance(value, str):
        return show_invisible(value, keep_newlines=True)
    if isinstance(value, Mapping):
        return {show_invisible(name): plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    return value


def shortened(text: object, limit: int) -> str:
    """Return at most ``limit`` characters of a text, and how many were left out."""
    whole = str(text)
    if len(whole) <= limit:
        return whole
    return f"{whole[:limit]}… ({len(whole) - limit:,} more characters)"


def score(value: float | None) -> str:
    """Return a score with two places, or that it is unknown."""
    return "unknown" if value is None else f"{value:.2f}"


def dollars(cost: float | None) -> str:
    """Return an amount of money; ``None`` is a price that nobody knows."""
    if cost is None:
        return "unknown"
    if cost == 0:
        return "$0"
    return f"${cost:.4f}" if cost < 1 else f"${cost:,.2f}"


def duration(seconds: float) -> str:
    """Return ``12 s``, ``2 min 5 s`` or ``1 h 2 min``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def flattened(document: Mapping[str, Any], prefix: str = "") -> Facts:
    """Return nested keys as dotted names with their values."""
    found: Facts = []
    for name, value in document.items():
        if isinstance(value, Mapping) and value:
            found += flattened(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", shortened(_value(value), MAX_QUERY)))
    return found


def _value(value: Any) -> str:
    if isinstance(value, list):
        return _values(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _values(values: Sequence[Any]) -> str:
    numbers = [value for value in values if isinstance(value, int)]
    if len(numbers) == len(values) > 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"{numbers[0]} to {numbers[-1]} ({len(numbers)} values)"
    if len(values) > SHOWN_VALUES:
        return ", ".join(map(str, values[:SHOWN_VALUES])) + f", … ({len(values)} values)"
    return ", ".join(map(str, values))
