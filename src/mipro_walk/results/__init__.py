"""The result documents: views over a finished run (``documents.py``), and how they are written."""

from mipro_walk.results.files import write_documents
from mipro_walk.results.names import (
    BEST_PROMPT,
    DOCUMENT_NAMES,
    EXPLANATIONS,
    JOB_METADATA,
    SCORE_HISTORY,
    SELECTED_DEMOS,
)

__all__ = [
    "BEST_PROMPT",
    "DOCUMENT_NAMES",
    "EXPLANATIONS",
    "JOB_METADATA",
    "SCORE_HISTORY",
    "SELECTED_DEMOS",
    "write_documents",
]
