"""One label of a list. Answer: ``{"label": "refund"}``, or the bare label.

A bare label may differ from the list in case, spaces, hyphens and quotes around it. In prose of at most 300
characters the one label that it names counts; two different ones are ``ambiguous``. Score: 1 for the right label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mipro_walk.project.scorers.base import AnswerForm, BadTargetError, UnreadableError
from mipro_walk.project.scorers.reading import folded, label_form, property_or_text

MAX_PROSE = 300


class LabelIndex:
    """Finds labels by what people and models make of them."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._by_form: dict[str, str | None] = {}
        for label in labels:
            form = label_form(label)
            # Two labels of one form need their exact spelling.
            self._by_form[form] = label if form not in self._by_form else None
        forms = sorted(filter(None, self._by_form), key=len, reverse=True)
        pattern = "|".join(map(re.escape, forms)) or r"(?!)"
        self._anywhere = re.compile(rf"(?<![^\W_])(?:{pattern})(?![^\W_])")

    def find(self, text: str) -> str:
        """Return the label that ``text`` is.

        Raises:
            UnreadableError: it is none, or could be several.
        """
        if text in self.labels:
            return text
        form = label_form(text)
        if form not in self._by_form:
            raise UnreadableError("unknown_label")
        label = self._by_form[form]
        if label is None:
            raise UnreadableError("ambiguous")
        return label

    def find_in_prose(self, text: str) -> str:
        """Return the one label that a short text is or names."""
        try:
            return self.find(text)
        except UnreadableError as exc:
            if exc.reason == "ambiguous" or len(text) > MAX_PROSE:
                raise
        found = {self._by_form[form] for form in self._anywhere.findall(re.sub(r"[\s\-]+", "_", folded(text)))}
        if len(found) > 1 or None in found:
            raise UnreadableError("ambiguous")
        if not found:
            raise UnreadableError("unknown_label")
        return str(found.pop())

    def target(self, cell: str) -> str:
        """Return the label of a cell of the data."""
        try:
            return self.find(cell.strip())
        except UnreadableError:
            raise BadTargetError(f"{cell[:60]!r} is not in the list of labels") from None


class Classification:
    """See the module."""

    def __init__(self, labels: Sequence[str], descriptions: Mapping[str, str] | None = None) -> None:
        self._index = LabelIndex(labels)
        self._descriptions = dict(descriptions or {})

    def form(self) -> AnswerForm:
        """One property with the labels as its enum."""
        labels = self._index.labels
        return AnswerForm(
            schema=object_of("label", {"type": "string", "enum": list(labels)}),
            note=f"Answer with one of these labels and nothing else: {', '.join(labels)}",
            always=meanings(self._descriptions),
        )

    def target(self, cell: str) -> str:
        """The label as the list spells it."""
        return self._index.target(cell)

    def shown(self, target: str) -> str:
        """The same."""
        return target

    def read_answer(self, text: str) -> str:
        """See the module."""
        found = property_or_text(text, "label")
        if not isinstance(found, str):
            raise UnreadableError("unknown_label")
        return self._index.find_in_prose(found)

    def score(self, answer: str | None, expected: str) -> tuple[float, Mapping[str, float]]:
        """1 or 0."""
        return float(answer == expected), {}


def object_of(name: str, schema: dict[str, object]) -> dict[str, object]:
    """Return the schema of an object with exactly one property."""
    return {"type": "object", "properties": {name: schema}, "required": [name], "additionalProperties": False}


def meanings(descriptions: Mapping[str, str]) -> str:
    """Return what labels mean, a line for each that says."""
    lines = [f"- {label}: {text}" for label, text in descriptions.items() if text.strip()]
    return "\n".join(["What the labels mean:", *lines]) if lines else ""
