"""The four result documents: views over a finished run, and how they are written."""

from mipro_walk.results.documents import (
    BEST_PROMPT,
    JOB_METADATA,
    SCORE_HISTORY,
    SELECTED_DEMOS,
    build_documents,
)
from mipro_walk.results.files import write_documents

__all__ = ["BEST_PROMPT", "JOB_METADATA", "SCORE_HISTORY", "SELECTED_DEMOS", "build_documents", "write_documents"]
