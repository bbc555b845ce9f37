"""Guesses which columns are text and answer and what kind of task it is, with the reason in words. A person decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError
from mipro_walk.project.columns import (
    ANSWER_NAMES,
    COMPANIONS,
    ID_NAMES,
    MAX_LABELS,
    RATING_NAMES,
    SEPARATORS,
    TEXT_NAMES,
    Column,
    is_object,
    separator_of,
    share,
)
from mipro_walk.project.rows import Table, did_you_mean, shown
from mipro_walk.project.sections import Kind

Confidence = Literal["high", "medium", "low"]
CONFIDENCES: tuple[Confidence, ...] = ("low", "medium", "high")
SAMPLE_ROWS = 2000
SHORT_ANSWER_CHARS = 60
MAX_SCALE = 11


@dataclass(frozen=True, slots=True)
class Guess:
    """What a table seems to be.

    Attributes:
        columns: input columns.
        target: the answer's column.
        reasons: why, one sentence for each of text, answer and kind.
        confidence: ``low`` means that a person should decide.
        separator: between the labels of a multi-label answer.
        low, high: ends of a rating's scale as far as the data show it.
        split_column: a column that says train, val or test, if there is one.
    """

    columns: tuple[str, ...]
    target: str
    kind: Kind
    reasons: tuple[str, ...]
    confidence: Confidence
    separator: str = ";"
    low: int | None = None
    high: int | None = None
    split_column: str | None = None


def guess(table: Table, *, columns: Sequence[str] = (), target: str | None = None, kind: Kind | None = None) -> Guess:
    """Guess what was not said; what was said stays.

    Raises:
        ConfigError: a named column does not exist, or the table has one column only.
    """
    _require_known(table, [*columns, *([target] if target else [])])
    sample = table.rows[:: max(1, len(table.rows) // SAMPLE_ROWS)][:SAMPLE_ROWS]
    every = {name: Column(name, tuple(row.cells[name] for row in sample)) for name in table.columns}
    split = next((name for name, column in every.items() if column.is_split and name not in (*columns, target)), None)
    free = {name: column for name, column in every.items() if name != split and column.filled}
    if len(free) < 2 and not (columns and target):
        raise ConfigError(
            f"{table.name} has {counted(len(free), 'column')} with something in it; a task needs a text and an answer.",
            "Add a column with the right answers.",
        )
    chosen, text_reason, text_confidence = _text(free, tuple(columns), target)
    if not columns:
        chosen, text_reason = _with_companion(free, chosen, target, text_reason)
    answer, answer_reason, answer_confidence = _answer(free, chosen, target)
    found = kind_of(every[answer]) if kind is None else _KindGuess(kind, "as you say.", "high")
    low, high = _scale(every[answer]) if found.kind == "rating" else (None, None)
    separator = separator_of(every[answer]) if found.kind == "multi_label" else ""
    return Guess(
        columns=chosen,
        target=answer,
        kind=found.kind,
        reasons=(text_reason, answer_reason, f"Kind: {found.kind}, {found.reason}"),
        confidence=min((text_confidence, answer_confidence, found.confidence), key=CONFIDENCES.index),
        separator=separator if separator in SEPARATORS else ";",
        low=low,
        high=high,
        split_column=split,
    )


@dataclass(frozen=True, slots=True)
class _KindGuess:
    kind: Kind
    reason: str
    confidence: Confidence


def kind_of(column: Column) -> _KindGuess:
    """Return what the values of an answer column are."""
    name, n, distinct = shown(column.name), len(column.filled), len(column.counts)
    if share(column, is_object) >= 0.9:
        return _KindGuess("extraction", f"as {name} holds JSON objects.", "high")
    separator = separator_of(column)
    if separator:
        parts = "JSON lists" if separator == "[" else f"several values with {separator!r} between them"
        return _KindGuess("multi_label", f"as {name} holds {parts}, which come again and again.", "medium")
    if column.numbers and distinct > 2:
        return _numeric(column, name, distinct)
    per_value = n / max(1, distinct)
    if distinct <= MAX_LABELS and per_value >= 2 and column.mean_chars <= SHORT_ANSWER_CHARS:
        is_sure = per_value >= 5
        said = f"as {name} has {counted(distinct, 'different value')} in {counted(n, 'row')}."
        return _KindGuess("classification", said, "high" if is_sure else "medium")
    if column.mean_chars <= SHORT_ANSWER_CHARS:
        said = f"as {name} has {counted(distinct, 'different value')}, {column.mean_chars:.0f} characters on average."
        return _KindGuess("short_answer", said, "medium")
    said = (
        f"as {name} holds free texts, {column.mean_chars:.0f} characters on average: a judge model has to score them."
    )
    return _KindGuess("judged", said, "medium")


def _numeric(column: Column, name: str, distinct: int) -> _KindGuess:
    low, high = min(column.numbers), max(column.numbers)
    are_whole = all(number.is_integer() for number in column.numbers)
    if are_whole and distinct <= MAX_SCALE and high - low <= 100:
        is_named = column.has_name(RATING_NAMES)
        said = f"as {name} holds whole numbers from {low:g} to {high:g}."
        return _KindGuess("rating", said, "high" if is_named else "medium")
    said = f"as {name} holds {counted(distinct, 'different number')} from {low:g} to {high:g}."
    return _KindGuess("short_answer", said, "low")


def _scale(column: Column) -> tuple[int | None, int | None]:
    """Return the ends of a scale: those of the data, widened to 1 and 5 where a scale usually ends there."""
    if not column.numbers:
        return None, None
    low, high = int(min(column.numbers)), int(max(column.numbers))
    return (1 if low == 2 and high <= 10 else low), (5 if low >= 1 and high == 4 else high)


def _text(
    free: dict[str, Column], told: tuple[str, ...], target: str | None
) -> tuple[tuple[str, ...], str, Confidence]:
    if told:
        return told, f"Text: {', '.join(map(shown, told))}, as you say.", "high"
    candidates = [column for name, column in free.items() if name != target]
    texts = [column for column in candidates if not column.numbers]
    if not texts:
        best = max(candidates, key=lambda column: column.unique_share)
        return (best.name,), f"Text: {shown(best.name)}, though no column holds text.", "low"
    best = max(texts, key=_text_score)
    others = sorted((_text_score(column) for column in texts if column is not best), reverse=True)
    is_sure = best.has_name(TEXT_NAMES) or not others or _text_score(best) > 1.5 * others[0]
    various = f"{best.mean_chars:.0f} characters on average, {best.unique_share:.0%} of them different"
    said = f"Text: {shown(best.name)}, {various}."
    return (best.name,), said, "high" if is_sure else "medium"


def _text_score(column: Column) -> float:
    score = min(column.mean_chars, 400.0) * (0.2 + column.unique_share)
    if column.has_name(TEXT_NAMES):
        score *= 2.0
    if column.has_name(ANSWER_NAMES):
        score *= 0.25
    return score * (0.1 if column.has_name(ID_NAMES) or share(column, is_object) > 0.5 else 1.0)


def _answer(free: dict[str, Column], text: tuple[str, ...], told: str | None) -> tuple[str, str, Confidence]:
    if told:
        return told, f"Answer: {shown(told)}, as you say.", "high"
    candidates = [column for name, column in free.items() if name not in text]
    named = [column for column in candidates if column.has_name(ANSWER_NAMES)]
    exact = [column for column in named if column.name.casefold() in ANSWER_NAMES]
    pool = exact or named or [column for column in candidates if not column.has_name(ID_NAMES)] or candidates
    best = max(pool, key=_answer_score)
    if named:
        confidence: Confidence = "high" if len(exact or named) == 1 else "medium"
        return best.name, f"Answer: {shown(best.name)}, by its name.", confidence
    if len(pool) == 1:
        return best.name, f"Answer: {shown(best.name)}, the column that is left.", "medium"
    said = f"Answer: {shown(best.name)}, whose values come again most often ({len(best.counts):,} different)."
    return best.name, said, "low"


def _answer_score(column: Column) -> float:
    if len(column.counts) < 2:
        return -1.0
    return 1.0 - column.unique_share - (0.3 if column.numbers and len(column.counts) > MAX_SCALE else 0.0)


def _with_companion(
    free: dict[str, Column], chosen: tuple[str, ...], target: str | None, reason: str
) -> tuple[tuple[str, ...], str]:
    by_folded = {name.casefold(): name for name in free if name != target}
    for pair in COMPANIONS:
        if chosen[0].casefold() in pair and all(name in by_folded for name in pair):
            names = tuple(by_folded[name] for name in pair)
            return names, f"Text: {' and '.join(map(shown, names))}, which belong together by their names."
    return chosen, reason


def _require_known(table: Table, names: Sequence[str]) -> None:
    for name in names:
        if name not in table.columns:
            known = ", ".join(map(shown, table.columns[:20]))
            raise ConfigError(
                f"There is no column {shown(name)} in {table.name}.{did_you_mean(name, table.columns)}",
                f"Its columns are {known}.",
            )
