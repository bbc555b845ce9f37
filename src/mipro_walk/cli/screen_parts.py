"""What the parts of the results screen share: headings and differences of scores in words."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text


def heading(text: str, console: Console) -> None:
    """Print a heading after an empty line."""
    console.print()
    console.print(Text(text, style="bold"))


def points(difference: float) -> str:
    """Return a difference of scores in points with its sign: 0.43 is ``+43``."""
    value = round(difference * 100)
    return f"{value:+d}" if value else "0"
