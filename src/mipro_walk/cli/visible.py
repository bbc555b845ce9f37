"""The seam between foreign text and the terminal: whatever a dataset or a model says is shown, never obeyed."""

from __future__ import annotations

import unicodedata

from rich.console import Console
from rich.text import Text

INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
"""Control, format (bidi, zero width), surrogate, private use, line and paragraph separators."""


def visible(text: object, encoding: str = "utf-8", *, keep_newlines: bool = False) -> str:
    """Return ``text`` with every character that could move, hide or recolour something written as an escape.

    Characters that ``encoding`` cannot say are written as escapes, too. A tab becomes a space.
    """
    shown = "".join(_show(character, keep_newlines) for character in str(text))
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def one_line(text: object, encoding: str, limit: int) -> str:
    """Return ``text`` on one line of at most ``limit`` characters, runs of white space folded."""
    line = visible(" ".join(str(text).split()), encoding)
    dots = "..." if encoding == "ascii" else "…".encode(encoding, "ignore").decode(encoding) or "..."
    return line if len(line) <= limit else line[: max(0, limit - len(dots))] + dots


def foreign(text: object, console: Console, style: str = "", *, keep_newlines: bool = False) -> Text:
    """Return ``text`` as something rich prints as it is: sanitized, and never read as markup."""
    return Text(visible(text, console.encoding, keep_newlines=keep_newlines), style=style, overflow="fold")


def _show(character: str, keep_newlines: bool) -> str:
    if character == "\t" or (character == "\n" and not keep_newlines):
        return " "
    if character == "\n" or unicodedata.category(character) not in INVISIBLE_CATEGORIES:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
