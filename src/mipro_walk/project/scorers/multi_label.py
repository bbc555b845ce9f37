"""Any number of labels of a list. Answer: ``{"labels": ["a", "b"]}``, a JSON list, or labels with the separator.

The order does not matter; ``[]`` or ``none`` is the empty set. Metrics: ``f1`` (of the two sets, 1 if both are empty;
the default) and ``exact`` (the same set).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mipro_walk.project.scorers.base import AnswerForm, BadTargetError, UnreadableError
from mipro_walk.project.scorers.classification import LabelIndex, meanings, object_of
from mipro_walk.project.scorers.reading import canonical_json, folded, json_value, property_or_text

NOTHING = ("none", "[]", "")


class MultiLabel:
    """See the module."""

    def __init__(
        self,
        labels: Sequence[str],
        separator: str = ";",
        metric: Literal["f1", "exact"] = "f1",
        descriptions: Mapping[str, str] | None = None,
    ) -> None:
        self._index = LabelIndex(labels)
        self._separator = separator
        self._metric = metric
        self._descriptions = dict(descriptions or {})

    def form(self) -> AnswerForm:
        """A list whose items are labels."""
        labels = list(self._index.labels)
        # Without an end in sight a small model lists labels until it is cut off.
        items: dict[str, object] = {
            "type": "array",
            "items": {"type": "string", "enum": labels},
            "maxItems": len(labels),
        }
        return AnswerForm(
            schema=object_of("labels", items),
            note=f'Answer with a JSON list of all labels that apply, such as ["{labels[0]}"], or [] for none, and '
            f"with nothing else. Labels: {', '.join(labels)}",
            always=meanings(self._descriptions),
        )

    def target(self, cell: str) -> str:
        """The set as a JSON list, in the order of the labels."""
        cell = cell.strip()
        if cell.startswith("["):
            try:
                parts = json_value(cell)
            except UnreadableError:
                raise BadTargetError(f"{cell[:60]!r} is not a JSON list") from None
            if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
                raise BadTargetError(f"{cell[:60]!r} is not a list of labels")
        else:
            parts = [] if folded(cell) in NOTHING else cell.split(self._separator)
        return self._canonical({self._index.target(part) for part in parts if part.strip()})

    def shown(self, target: str) -> str:
        """The same."""
        return target

    def read_answer(self, text: str) -> str:
        """See the module."""
        found: Any = property_or_text(text, "labels")
        if isinstance(found, str) and found.startswith("["):
            found = json_value(found)
        if isinstance(found, str):
            found = [] if folded(found) in NOTHING else re.split(rf"{re.escape(self._separator)}|,|\n", found)
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise UnreadableError("not_a_list")
        return self._canonical({self._index.find(item.strip()) for item in found if item.strip()})

    def score(self, answer: str | None, expected: str) -> tuple[float, Mapping[str, float]]:
        """The metric, and both as figures."""
        figures = {"exact": 0.0, "f1": 0.0}
        if answer is not None:
            given, right = set(json_value(answer)), set(json_value(expected))
            both = len(given & right)
            figures["exact"] = float(given == right)
            figures["f1"] = 2 * both / (len(given) + len(right)) if given or right else 1.0
        return figures[self._metric], figures

    def _canonical(self, found: set[str]) -> str:
        return canonical_json([label for label in self._index.labels if label in found])
