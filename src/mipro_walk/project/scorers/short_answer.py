"""A short text. Answer: ``{"answer": "in 1969"}``, or the bare text.

Texts are compared after normalising: lower case, no punctuation, no articles, single spaces. With a separator in
``[scoring]`` a row may have several right answers; the best match counts. Metrics: ``f1`` (of the words; the default)
and ``exact`` (the same text after normalising).

Source: the official evaluation script of SQuAD 1.1, Rajpurkar et al. 2016, arXiv:1606.05250. Differs: Unicode is
folded first (NFKC, case), and all Unicode punctuation goes, not ASCII's alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from mipro_walk.project.scorers.base import AnswerForm, BadTargetError, UnreadableError
from mipro_walk.project.scorers.classification import object_of
from mipro_walk.project.scorers.reading import folded, property_or_text

ARTICLES = re.compile(r"\b(a|an|the)\b")


class ShortAnswer:
    """See the module."""

    def __init__(self, separator: str | None = None, metric: Literal["f1", "exact"] = "f1") -> None:
        self._separator = separator
        self._metric = metric

    def form(self) -> AnswerForm:
        """One property of text."""
        return AnswerForm(
            object_of("answer", {"type": "string"}),
            "Answer with a few words: the answer itself, no sentence around it.",
        )

    def target(self, cell: str) -> str:
        """The cell with all its answers."""
        if not any(normalised(answer) for answer in self._answers(cell)):
            raise BadTargetError(f"{cell[:60]!r} holds no word")
        return cell.strip()

    def shown(self, target: str) -> str:
        """The first of several answers."""
        return self._answers(target)[0]

    def read_answer(self, text: str) -> str:
        """The text."""
        found = property_or_text(text, "answer")
        if isinstance(found, bool | int | float):
            found = str(found)
        if not isinstance(found, str) or not found.strip():
            raise UnreadableError("no_answer")
        return found.strip()

    def score(self, answer: str | None, expected: str) -> tuple[float, Mapping[str, float]]:
        """The metric, and both as figures: the best of all right answers."""
        figures = {"exact": 0.0, "f1": 0.0}
        for right in self._answers(expected) if answer is not None else ():
            given, wanted = normalised(str(answer)), normalised(right)
            figures["exact"] = max(figures["exact"], float(given == wanted))
            figures["f1"] = max(figures["f1"], token_f1(given, wanted))
        return figures[self._metric], figures

    def _answers(self, cell: str) -> list[str]:
        parts = cell.split(self._separator) if self._separator else [cell]
        return [part.strip() for part in parts if part.strip()]


def normalised(text: str) -> str:
    """Return a text in the form in which answers are compared."""
    bare = "".join(" " if unicodedata.category(char).startswith("Z") else char for char in folded(text))
    bare = "".join(char for char in bare if not unicodedata.category(char).startswith("P"))
    return " ".join(ARTICLES.sub(" ", bare).split())


def token_f1(given: str, wanted: str) -> float:
    """Return the F1 of the words of two normalised texts; of empty ones, whether both are."""
    ours, theirs = given.split(), wanted.split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = (Counter(ours) & Counter(theirs)).total()
    return 2 * common / (len(ours) + len(theirs))
