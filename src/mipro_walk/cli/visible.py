"""The seam between foreign text and the terminal: whatever a dataset or a model says is shown, never obeyed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mipro_walk.plain_text import show_invisible

if TYPE_CHECKING:  # heavy; most commands that import this show no rich text
    from rich.console import Console
    from rich.text import Text


def visible(text: object, encoding: str = "utf-8", *, keep_newlines: bool = False) -> str:
    """Return ``text`` with every character that could move, hide or recolour something written as an escape.

    Characters that ``encoding`` cannot say are written as escapes, too. A tab becomes a space.
    """
    shown = show_invisible(text, keep_newlines=keep_newlines)
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def one_line(text: object, encoding: str, limit: int) -> str:
    """Return ``text`` on one line of at most ``limit`` characters, runs of white space folded."""
    line = visible(" ".join(str(text).split()), encoding)
    dots = "..." if encoding == "ascii" else "…".encode(encoding, "ignore").decode(encoding) or "..."
    return line if len(line) <= limit else line[: max(0, limit - len(dots))] + dots


def foreign(text: object, console: Console, style: str = "", *, keep_newlines: bool = False) -> Text:
    """Return ``text`` as something rich prints as it is: sanitized, and never read as markup."""
    from rich.text import Text

    return Text(visible(text, console.encoding, keep_newlines=keep_newlines), style=style, overflow="fold")
