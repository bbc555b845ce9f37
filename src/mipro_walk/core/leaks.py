"""No instruction may hold text of the rows that a prompt is scored on, or lack a part that the task has fixed.

A row counts as copied when four of its word triples stand in the text (six words in a row have four), or, of a short
row, most of them. Triples that train rows, labels or the task's own words have, too, prove nothing and are left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from mipro_walk.core.overlap import normal
from mipro_walk.types import Task

COPIED_TRIPLES = 4
SHORT_ROW_SHARE = 0.7
MIN_TRIPLES = 2
LACKS_FIXED = "lacks a fixed part"
MIN_CHARS = 20
"""Rows shorter than this are too common as phrases to count as copied."""


class LeakGuard:
    """Knows the val, test and pinned rows of a task, by word triples, and its fixed parts."""

    def __init__(self, task: Task, *, allow_baseline: bool = True) -> None:
        """``allow_baseline = False`` also looks at words that the starting instruction has."""
        common = [row.query for row in task.train] + [task.description, *task.labels, *task.fixed]
        if allow_baseline:
            common += [prompt.instruction for prompt in task.baseline.prompts]
        allowed = {triple for text in common for triple in _triples(text)}
        held_out = [row.query for row in (*task.val, *task.test, *task.pinned)]
        self._fixed = tuple(task.fixed)
        self._rows: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._triples: list[int] = []
        for number, text in enumerate(held_out):
            telling = _triples(text) - allowed if len(normal(text)) >= MIN_CHARS else set()
            self._triples.append(len(telling))
            for triple in telling:
                self._rows[triple].append(number)

    def problem(self, text: str) -> str:
        """Return why a text is refused, or an empty string."""
        if any(part not in text for part in self._fixed):
            return LACKS_FIXED
        shared = Counter(row for triple in _triples(text) for row in self._rows.get(triple, ()))
        for row, count in shared.items():
            most = max(MIN_TRIPLES, SHORT_ROW_SHARE * self._triples[row])
            if count >= min(COPIED_TRIPLES, most):
                return "copies a val or test row"
        return ""


def _triples(text: str) -> set[tuple[str, ...]]:
    words = normal(text).split()
    return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}
