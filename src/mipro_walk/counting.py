"""A number with its noun and verb, so that one row is not ``1 rows are``. Imports nothing of the project."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return ``1 row`` or ``2,000 rows``; the noun's last word takes the ``s``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def agreeing(number: int, one: str, many: str) -> str:
    """Return the verb that fits a number: ``was`` or ``were``."""
    return one if number == 1 else many
