"""File names of the result documents. Light to import: screens need them without what a run needs."""

from __future__ import annotations

from pathlib import Path

BEST_PROMPT = "best_prompt.json"
SCORE_HISTORY = "score_history.json"
JOB_METADATA = "job_metadata.json"
SELECTED_DEMOS = "selected_demos.json"
EXPLANATIONS = "explanations.json"
REPORT = "report.html"
DOCUMENT_NAMES = (BEST_PROMPT, SCORE_HISTORY, SELECTED_DEMOS, EXPLANATIONS, JOB_METADATA)
"""Every document a finished job leaves, the most important one first."""
USUAL_FOLDER = "results"
"""Where a project's runs leave them, below its folder."""


def results_in(folder: Path) -> Path:
    """Return ``folder``, or the folder of results below it if only that one holds any: a project stands for both."""
    below = folder / USUAL_FOLDER
    return below if (below / BEST_PROMPT).is_file() and not (folder / BEST_PROMPT).exists() else folder
