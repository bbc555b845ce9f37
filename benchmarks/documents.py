"""What the benchmarks share when they write: figures as text, and tables into their place in a document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def quartiles(values: Sequence[float]) -> str:
    """Return the median and, in brackets, the quartiles of shares as points.

    >>> quartiles([0.01, 0.02, 0.03])
    '2.0 (1.5–2.5)'
    """
    low, median, high = np.percentile(100 * np.array(values), [25, 50, 75])
    return f"{median:.1f} ({low:.1f}–{high:.1f})"


def with_error(values: Sequence[float], sign: str = "") -> str:
    """Return the mean of shares as points, with its standard error. ``sign``: as in a format, ``+`` shows it always.

    >>> with_error([0.01, 0.03], "+")
    '+2.0 ± 1.0'
    """
    points = 100 * np.array(values)
    return f"{points.mean():{sign}.1f} ± {standard_error(values):.1f}"


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean of shares, in points."""
    return float(100 * np.std(values, ddof=1) / len(values) ** 0.5)


def write_between(document: Path, marker: str, text: str) -> None:
    """Replace what stands between ``<!-- marker -->`` and ``<!-- end marker -->``.

    Raises:
        SystemExit: the document has no such markers.
    """
    marked = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- end {marker} -->)", re.DOTALL)
    content, times = marked.subn(lambda m: f"{m[1]}\n{text}\n{m[2]}", document.read_text(encoding="utf-8"))
    if not times:
        raise SystemExit(f"{document} has no <!-- {marker} --> and <!-- end {marker} --> to write between.")
    document.write_text(content, encoding="utf-8")
