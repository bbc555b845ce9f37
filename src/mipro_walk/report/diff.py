"""What changed between two instructions, word by word."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Literal

Part = tuple[Literal["same", "ins", "del"], str]

MAX_WORDS = 2_000
"""Longer texts are compared line by line: the time for words grows with the square of their number."""
LEAST_IN_COMMON = 0.25
"""Below this share of words in common a word by word view is confetti: then the texts stand one after the other."""


def word_diff(before: str, after: str) -> list[Part]:
    """Return the parts of both texts in reading order; the same texts give no part.

    What is ``same`` or ``del`` makes up ``before`` (but for white space), ``same`` or ``ins`` makes up ``after``.
    """
    if before == after:
        return []
    old, new = _pieces(before, after)
    matcher = SequenceMatcher(None, [piece.strip() for piece in old], [piece.strip() for piece in new], autojunk=False)
    if matcher.ratio() < LEAST_IN_COMMON:
        return _nonempty([("del", _ended(before, "\n\n")), ("ins", after)])
    parts: list[Part] = []
    for kind, a, b, c, d in matcher.get_opcodes():
        removed, added = "".join(old[a:b]), "".join(new[c:d])
        if removed and parts and not parts[-1][1][-1:].isspace():
            removed = f" {removed}"
        parts += _nonempty([("same", added)] if kind == "equal" else [("del", _ended(removed, " ")), ("ins", added)])
    return parts


def _pieces(before: str, after: str) -> tuple[list[str], list[str]]:
    old, new = _words(before), _words(after)
    if max(len(old), len(new)) > MAX_WORDS:
        return before.splitlines(keepends=True), after.splitlines(keepends=True)
    return old, new


def _words(text: str) -> list[str]:
    """Return the words of a text, each with the white space that follows it."""
    return re.findall(r"^\s+|\S+\s*", text)


def _ended(text: str, gap: str) -> str:
    """Return a removed text with a gap behind it, so that it does not run into what follows."""
    return text if not text or text[-1].isspace() else text + gap


def _nonempty(parts: list[Part]) -> list[Part]:
    return [(kind, text) for kind, text in parts if text]
