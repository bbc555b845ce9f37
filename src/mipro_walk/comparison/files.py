"""What a comparison leaves: ``comparison.json`` and ``compare.html``, whole or not at all, for the owner only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mipro_walk.errors import PrerequisiteError
from mipro_walk.paths import write_private
from mipro_walk.report.comparison_page import render_comparison
from mipro_walk.results.files import encode

DOCUMENT = "comparison.json"
PAGE = "compare.html"


def write_comparison(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write both files and return the page's path.

    Raises:
        PrerequisiteError: the folder cannot be made or written.
        MiproWalkError: a chart cannot be drawn.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise PrerequisiteError(
            f"The folder {folder} cannot be made: {exc.strerror}.", "Choose another one with --results."
        ) from exc
    write_private(folder / DOCUMENT, encode(document))
    write_private(folder / PAGE, render_comparison(document).encode("utf-8", "replace"))
    return folder / PAGE
