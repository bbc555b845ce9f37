"""What a column looks like: its name, how long and how various its cells are, whether they are numbers or lists."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from mipro_walk.project.answers import label_parts
from mipro_walk.project.splitting import SPLIT_WORDS

ANSWER_NAMES = (
    *("label", "labels", "category", "categories", "class", "intent", "target", "answer", "answers", "output", "topic"),
    *("sentiment", "tag", "tags", "type", "rating", "score", "stars", "genre", "genres", "y", "response", "reference"),
    *("gold", "expected", "completion", "summary", "department", "language", "emotion", "priority", "json", "entities"),
)
TEXT_NAMES = (
    *("text", "query", "question", "message", "sentence", "content", "body", "review", "comment", "document", "input"),
    *("prompt", "utterance", "description", "ticket", "email", "title", "tweet", "headline", "article", "abstract"),
)
COMPANIONS = (
    *(("subject", "body"), ("subject", "message"), ("title", "body"), ("title", "text"), ("title", "abstract")),
    *(("title", "description"), ("question", "context"), ("context", "question"), ("premise", "hypothesis")),
    *(("sentence1", "sentence2"), ("text1", "text2"), ("question1", "question2")),
)
"""Columns that make one question together."""
RATING_NAMES = ("rating", "score", "stars", "grade", "quality", "points", "level", "rank", "severity", "satisfaction")
ID_NAMES = (
    *("id", "index", "idx", "uuid", "guid", "key", "column 1", "row", "number", "no", "url"),
    *("date", "time", "timestamp"),
)
SEPARATORS = (";", "|", ",")
MAX_LABELS = 200


@dataclass(frozen=True)
class Column:
    """What one column looks like, from the first rows."""

    name: str
    cells: tuple[str, ...]

    @cached_property
    def filled(self) -> tuple[str, ...]:
        """Cells with something in them."""
        return tuple(cell.strip() for cell in self.cells if cell.strip())

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each value comes, case and blanks aside."""
        return Counter(" ".join(cell.split()).casefold() for cell in self.filled)

    @property
    def mean_chars(self) -> float:
        """Characters of a filled cell, on average."""
        return sum(map(len, self.filled)) / len(self.filled) if self.filled else 0.0

    @property
    def unique_share(self) -> float:
        """Different values for each filled cell, 0..1."""
        return len(self.counts) / len(self.filled) if self.filled else 0.0

    @cached_property
    def numbers(self) -> list[float]:
        """All values as numbers, empty if one is none."""
        if not all(re.fullmatch(r"[+-]?\d{1,15}(\.\d{1,15})?", cell) for cell in self.filled):
            return []
        return [float(cell) for cell in self.filled]

    def has_name(self, names: Sequence[str]) -> bool:
        """Whether its name is one of ``names``, or ends or begins with one."""
        words = re.split(r"[^a-z0-9]+", self.name.casefold())
        return self.name.casefold() in names or any(word in names for word in words)

    @property
    def is_split(self) -> bool:
        """Whether every value is a word for a split."""
        known = all(value in SPLIT_WORDS for value in self.counts)
        return bool(self.counts) and known and (len(self.counts) > 1 or self.has_name(("split", "fold", "set")))


def separator_of(column: Column) -> str:
    """Return what divides the labels of a multi-label column (``[`` for JSON lists), ``""`` if it is none."""
    if share(column, lambda cell: cell.startswith("[") and cell.endswith("]")) >= 0.9:
        return "[" if all(label_parts(cell, "\0")[:1] != [cell] for cell in column.filled[:50]) else ""
    for separator in SEPARATORS:
        parts = [label_parts(cell, separator) for cell in column.filled]
        several = sum(len(found) > 1 for found in parts)
        names = Counter(name for found in parts for name in found)
        total = sum(names.values())
        are_short = total > 0 and sum(len(name) * count for name, count in names.items()) / total <= 30
        # Labels come again, alone or in company; the words of sentences with commas hardly do.
        if several >= 0.1 * len(parts) and are_short and len(names) <= min(MAX_LABELS, total / 4):
            return separator
    return ""


def share(column: Column, holds: Callable[[str], object]) -> float:
    """Return the share of the first cells for which ``holds`` is true."""
    cells = column.filled[:200]
    return sum(map(bool, map(holds, cells))) / len(cells) if cells else 0.0


def is_object(cell: str) -> bool:
    """Whether a cell is a JSON object."""
    if not cell.startswith("{"):
        return False
    try:
        return isinstance(json.loads(cell), dict)
    except (ValueError, RecursionError):
        return False
