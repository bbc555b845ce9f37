"""Tables that the searches of both algorithms share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mipro_walk.report.text import shortened

Document = Mapping[str, Any]
MAX_INSTRUCTION, MANY_INSTRUCTIONS, MAX_OF_MANY = 2_000, 40, 400
NUMBER = "number"


def columns(*numbers: str, words: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """Return the heads of a table: columns of numbers, then of words."""
    return [*({"name": name, "kind": NUMBER} for name in numbers), *({"name": name, "kind": ""} for name in words)]


def instruction_columns(*numbers: str) -> list[dict[str, str]]:
    """Return the heads of :func:`instructions`, with further numbers after the index."""
    return [*columns("", *numbers, words=("source",)), {"name": "text", "kind": "wide"}]


def instructions(
    history: Document, further: Callable[[Document], tuple[Any, ...]] = lambda _instruction: ()
) -> list[list[Any]]:
    """Return a line for each instruction: index, what ``further`` says, source, text; of many the texts are cut."""
    found = history.get("instructions") or []
    limit = MAX_OF_MANY if len(found) > MANY_INSTRUCTIONS else MAX_INSTRUCTION
    return [[i["index"], *further(i), i["source"], shortened(i["text"], limit)] for i in found]


def refused(history: Document) -> list[tuple[str, int]]:
    """Return why proposals were refused, the most frequent reason first."""
    return sorted((history.get("refused") or {}).items(), key=lambda item: (-item[1], item[0]))
