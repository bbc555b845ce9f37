"""File names of the result documents. Light to import: screens need them without what a run needs."""

from __future__ import annotations

BEST_PROMPT = "best_prompt.json"
SCORE_HISTORY = "score_history.json"
JOB_METADATA = "job_metadata.json"
SELECTED_DEMOS = "selected_demos.json"
EXPLANATIONS = "explanations.json"
REPORT = "report.html"
DOCUMENT_NAMES = (BEST_PROMPT, SCORE_HISTORY, SELECTED_DEMOS, EXPLANATIONS, JOB_METADATA)
"""Every document a finished job leaves, the most important one first."""
