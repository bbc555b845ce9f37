"""What the parts of the results screen share: headings."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text


def heading(text: str, console: Console) -> None:
    """Print a heading after an empty line."""
    console.print()
    console.print(Text(text, style="bold"))
