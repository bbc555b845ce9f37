"""What a right answer may be, kind by kind: one cell in, its usual form out, or why it cannot be used."""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mipro_walk.project.rows import Row, did_you_mean, shown
from mipro_walk.project.sections import Kind

MAX_ROW_TOKENS = 6000
"""The local model's context is 8,192 tokens; instruction, demonstrations and answer need room beside the question."""
LABEL_KINDS = ("classification", "multi_label")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the rows are for.

    Attributes:
        kind: as in ``task.toml``.
        columns: the input columns.
        target: the column with the right answer.
        labels: the only possible labels; empty takes those of the data.
        separator: between the labels of a multi-label answer.
        low, high: ends of a rating's scale; ``None`` is open.
        split_column: the column that says which split a row is in.
    """

    kind: Kind
    columns: tuple[str, ...]
    target: str
    labels: tuple[str, ...] = ()
    separator: str = ";"
    low: int | None = None
    high: int | None = None
    split_column: str | None = None
    max_row_tokens: int = MAX_ROW_TOKENS


class UnusableAnswer(ValueError):
    """An answer that cannot be scored. ``code`` names the kind of finding, the text is the reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def label_parts(cell: str, separator: str) -> list[str]:
    """Return the labels of a multi-label cell, each once: a JSON list, or texts between separators."""
    parts = cell.split(separator)
    if cell.lstrip().startswith("["):
        try:
            loaded = json.loads(cell)
        except (ValueError, RecursionError):
            loaded = None
        if isinstance(loaded, list) and all(isinstance(item, (str, int, float)) for item in loaded):
            parts = [str(item) for item in loaded]
    return list(dict.fromkeys(" ".join(part.split()) for part in parts if part.strip()))


def folded(label: str) -> str:
    """Return a label without case and blanks at ends, runs of blanks as one: what two spellings have in common."""
    return " ".join(unicodedata.normalize("NFC", label).split()).casefold()


@dataclass
class LabelSpellings:
    """Which spelling each label has.

    With a list, the list's; without, the most frequent one in the data. A list that holds two spellings keeps both.

    Attributes:
        merged: for each spelling that was replaced, what it became.
    """

    listed: tuple[str, ...] = ()
    merged: dict[str, str] = field(default_factory=dict)
    _usual: dict[str, str] = field(default_factory=dict)
    _exact: frozenset[str] = frozenset()

    @classmethod
    def of(cls, listed: Sequence[str], in_data: Iterable[str]) -> LabelSpellings:
        """Return the spellings for a list, or without one for the labels of the data."""
        spellings = cls(tuple(listed))
        if listed:
            names = Counter(folded(label) for label in listed)
            spellings._exact = frozenset(listed)
            spellings._usual = {folded(label): label for label in listed if names[folded(label)] == 1}
            return spellings
        counts = Counter(" ".join(label.split()) for label in in_data if label.strip())
        for label, _ in counts.most_common():  # the first seen of equally frequent ones
            spellings._usual.setdefault(folded(label), label)
        return spellings

    def usual(self, label: str) -> str:
        """Return the usual spelling.

        Raises:
            UnusableAnswer: not in the list.
        """
        if label in self._exact:
            return label
        found = self._usual.get(folded(label))
        if found is None:
            hint = did_you_mean(label, self.listed)
            raise UnusableAnswer("unlisted-label", f"has the label {shown(label)}, which is not in the list.{hint}")
        if found != label:
            self.merged[label] = found
        return found


def usual_labels(cell: str, spellings: LabelSpellings, separator: str) -> str:
    """Return a multi-label cell in its usual form, in JSON if a label holds the separator.

    Raises:
        UnusableAnswer: a label that is not in the list.
    """
    parts = list(dict.fromkeys(spellings.usual(part) for part in label_parts(cell, separator)))
    if any(separator in part for part in parts):
        return json.dumps(parts, ensure_ascii=False)
    return separator.join(parts)


def usual_rating(cell: str, low: int | None, high: int | None) -> str:
    """Return a rating as a whole number.

    Raises:
        UnusableAnswer: no whole number, or outside the scale.
    """
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not value.is_integer():
        raise UnusableAnswer("not-a-rating", f"has the rating {shown(cell)}, which is no whole number")
    if (low is not None and value < low) or (high is not None and value > high):
        raise UnusableAnswer("rating-outside-scale", f"has the rating {shown(cell)}, outside of {low} to {high}")
    return str(int(value))


def usual_object(cell: str) -> str:
    """Return the cell as it is if it holds a JSON object.

    Raises:
        UnusableAnswer: no JSON, or no object.
    """
    try:
        value = json.loads(cell)
    except json.JSONDecodeError as exc:
        raise UnusableAnswer(
            "invalid-json", f"has no JSON as its answer: {exc.msg} at character {exc.pos + 1} of {shown(cell, 40)}"
        ) from None
    except (ValueError, RecursionError):
        raise UnusableAnswer(
            "invalid-json", "has no JSON as its answer: nested too deeply, or a number too long"
        ) from None
    if not isinstance(value, dict):
        raise UnusableAnswer("invalid-json", f"has {shown(cell, 40)} as its answer, which is no JSON object")
    return cell


def usual_answer(cell: str, rules: Rules, spellings: LabelSpellings | None) -> str:
    """Return the answer of a row in its usual form.

    Raises:
        UnusableAnswer: it is empty, or cannot be scored.
    """
    if not cell.strip() or (rules.kind == "multi_label" and not label_parts(cell, rules.separator)):
        raise UnusableAnswer("empty-label", f"has nothing in {shown(rules.target)}")
    if spellings is not None:
        if rules.kind == "multi_label":
            return usual_labels(cell, spellings, rules.separator)
        return spellings.usual(cell)
    if rules.kind == "rating":
        return usual_rating(cell, rules.low, rules.high)
    return usual_object(cell) if rules.kind == "extraction" else cell


def labels_in(rows: Sequence[Row], rules: Rules) -> Iterator[str]:
    """Yield the labels of rows, as often as they stand there."""
    for row in rows:
        cell = row.cells[rules.target]
        if rules.kind == "multi_label":
            yield from label_parts(cell, rules.separator)
        else:
            yield cell
