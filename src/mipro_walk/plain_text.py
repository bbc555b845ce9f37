"""Foreign text made harmless to look at: what could move, hide or reorder something is written as an escape."""

from __future__ import annotations

import unicodedata

INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
"""Control, format (bidi, zero width), surrogate, private use, line and paragraph separators."""


def show_invisible(text: object, *, keep_newlines: bool = False) -> str:
    """Return ``text`` with every invisible character written as ``\\x1b`` or ``\\u202e``. A tab becomes a space."""
    written = str(text)
    if written.isascii() and written.isprintable():
        return written
    return "".join(_show(character, keep_newlines) for character in written)


def _show(character: str, keep_newlines: bool) -> str:
    if character == "\t" or (character == "\n" and not keep_newlines):
        return " "
    code = ord(character)
    is_none = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF  # noncharacters: for no text, refused by some readers
    if character == "\n" or not (is_none or unicodedata.category(character) in INVISIBLE_CATEGORIES):
        return character
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
