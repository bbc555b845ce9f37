"""Puts what the checks collected into words: what was found, in which rows, what was done, what a person can do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mipro_walk.counting import counted
from mipro_walk.project.answers import LABEL_KINDS, LabelSpellings, Rules, labels_in
from mipro_walk.project.rows import Dropped, Finding, Row, in_words, shown

MIN_ROWS = 3
MIN_ROWS_PER_LABEL = 3
"""One for each split."""
MISSING_WORDS = frozenset({"na", "n/a", "nan", "null", "-", "?", "#n/a"})
NAMED_LABELS = 6
USUAL_DUPLICATES = 0.1
"""More copies than this share of the other rows deserve attention."""


@dataclass
class Notes:
    """What a pass over the rows collects, by code."""

    kept: list[Row] = field(default_factory=list)
    dropped: dict[str, list[Dropped]] = field(default_factory=dict)
    odd: dict[str, list[int]] = field(default_factory=dict)
    spelled: list[int] = field(default_factory=list)
    clashing: dict[tuple[str, ...], list[int]] = field(default_factory=dict)
    half_empty: list[int] = field(default_factory=list)


DROP_WORDS = {
    "empty-text": ("without text", "Fill in the text, or delete these rows."),
    "empty-label": ("without an answer", "Fill in the answer, or delete these rows."),
    "duplicate-row": ("that repeat an earlier one (same text, same answer)", ""),
    "unlisted-label": ("with a label that is not in the list", "Add the label to the list, or correct the rows."),
    "not-a-rating": ("whose rating is no whole number", "Correct these rows."),
    "rating-outside-scale": ("with a rating outside the scale", "Correct these rows, or low and high in task.toml."),
    "invalid-json": ("whose answer is no JSON object", "Correct these rows."),
}
ODD_WORDS = {
    "control-characters": ("with control characters; they are shown as escapes", "Remove them if they mean nothing."),
    "markup": ("with HTML or XML tags", "Remove the tags if the model should not see them."),
    "instruction-like": (
        "that speak to the model like an instruction",
        "Look at them: a row may change what is measured.",
    ),
    "too-long": ("longer than about {limit:,} tokens", "Shorten or delete these rows: a model may refuse them."),
}


def drop_findings(notes: Notes) -> Iterator[Finding]:
    """Yield what was dropped, and why."""
    for code, (words, fix) in DROP_WORDS.items():
        if found := notes.dropped.get(code):
            rows = tuple(row.number for row in found)
            said = f"{counted(len(rows), 'row')} {words} dropped: {in_words(rows)}."
            if code not in ("empty-text", "empty-label", "duplicate-row"):
                said = f"{said} Row {rows[0]} {found[0].reason}" + ("" if found[0].reason.endswith("?") else ".")
            is_usual = code == "duplicate-row" and len(rows) <= USUAL_DUPLICATES * len(notes.kept)
            yield Finding(code, "note" if is_usual else "warning", said, "dropped", rows, fix)


def repair_findings(notes: Notes, spellings: LabelSpellings | None) -> Iterator[Finding]:
    """Yield what was changed without being asked."""
    merged = spellings.merged if spellings else {}
    if merged and notes.spelled:
        pairs = [f"{shown(old, 30)} as {shown(new, 30)}" for old, new in merged.items()]
        named = ", ".join(pairs[:NAMED_LABELS]) + (", …" if len(pairs) > NAMED_LABELS else "")
        rows = tuple(notes.spelled)
        said = f"Labels that differ by case or blanks count as one: {named} in {in_words(rows)}."
        fix = "To keep them apart, list both spellings in the labels file."
        yield Finding("label-spelling", "warning", said, "repaired", rows, fix)


def odd_findings(notes: Notes, rules: Rules) -> Iterator[Finding]:
    """Yield what is told and left alone."""
    if notes.clashing:
        rows = tuple(sorted(number for numbers in notes.clashing.values() for number in numbers))
        first = next(iter(notes.clashing.values()))
        said = (
            f"{counted(len(notes.clashing), 'text')} with different answers, such as {in_words(first)}; all are used, "
            "in the same split."
        )
        yield Finding("same-text-different-answers", "warning", said, "reported", rows, "Decide which answer is right.")
    if notes.half_empty:
        rows = tuple(notes.half_empty)
        said = f"{counted(len(rows), 'row')} with an empty input column, used as they are: {in_words(rows)}."
        yield Finding("empty-input-column", "note", said, "reported", rows)
    for code, (words, fix) in ODD_WORDS.items():
        if found := tuple(notes.odd.get(code, ())):
            said = f"{counted(len(found), 'row')} {words.format(limit=rules.max_row_tokens)}: {in_words(found)}."
            yield Finding(code, "note" if code == "markup" else "warning", said, "reported", found, fix)


def label_findings(rows: Sequence[Row], rules: Rules, labels: Sequence[str]) -> Iterator[Finding]:
    """Yield what is wrong with the labels as a whole."""
    if rules.kind not in LABEL_KINDS or not rows:
        return
    counts = Counter(labels_in(rows, rules))
    if len(counts) == 1 and rules.kind == "classification":
        said = f"Every usable row has the label {shown(next(iter(counts)))}: there is nothing to tell apart."
        yield Finding("one-label", "error", said, "refused", fix="Give rows of at least two labels.")
    elif max(counts.values()) == 1 and rules.kind == "classification":
        said = f"Each of the {len(counts):,} labels has one row only, so none can be both learned and tested."
        fix = "Give at least three rows for each label, or choose --kind short_answer if these are no labels."
        yield Finding("one-row-per-label", "error", said, "refused", fix=fix)
    elif rare := [label for label in counts if counts[label] < MIN_ROWS_PER_LABEL]:
        said = f"{counted(len(rare), 'label')} with fewer than three rows cannot be in every split: {_some(rare)}."
        numbers = tuple(row.number for row in rows if set(labels_in([row], rules)) & set(rare))
        yield Finding("rare-label", "warning", said, "reported", numbers, "Add rows for these labels.")
    if unseen := [label for label in labels if label not in counts]:
        said = f"{counted(len(unseen), 'listed label')} without a row: {_some(unseen)}."
        yield Finding("label-without-rows", "warning", said, "reported", fix="Add rows, or take them off the list.")
    if missing := [label for label in counts if label.casefold() in MISSING_WORDS]:
        numbers = tuple(row.number for row in rows if set(labels_in([row], rules)) & set(missing))
        said = f"The label {shown(missing[0])} looks like a missing value; it is used as it is: {in_words(numbers)}."
        yield Finding("missing-value-label", "warning", said, "reported", numbers, "Empty these cells if so.")


def size_findings(rows: Sequence[Row]) -> Iterator[Finding]:
    """Yield an error for too few rows."""
    if len(rows) < MIN_ROWS:
        said = f"{counted(len(rows), 'usable row')}: each of the three splits needs at least one."
        yield Finding("too-few-rows", "error", said, "refused", fix="Give more rows; some 150 tell something.")


def _some(labels: Sequence[str]) -> str:
    named = ", ".join(shown(label, 30) for label in labels[:NAMED_LABELS])
    return named + (", …" if len(labels) > NAMED_LABELS else "")
