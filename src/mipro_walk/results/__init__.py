"""The result documents: views over a finished run (``documents.py``), and how they are written."""

from mipro_walk.results.files import add_checksum, write_documents
from mipro_walk.results.names import (
    BEST_PROMPT,
    DOCUMENT_NAMES,
    EXPLANATIONS,
    JOB_METADATA,
    REPORT,
    SCORE_HISTORY,
    SELECTED_DEMOS,
    results_in,
)

__all__ = [
    "BEST_PROMPT",
    "DOCUMENT_NAMES",
    "EXPLANATIONS",
    "JOB_METADATA",
    "REPORT",
    "SCORE_HISTORY",
    "SELECTED_DEMOS",
    "add_checksum",
    "results_in",
    "write_documents",
]
