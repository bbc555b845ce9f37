"""Rows, splits, their one fixed order, and slices of the label set. Pure: reads no file, holds no clock.

The order matters because Banking77's files are sorted by label: the first hundred rows of the raw file are
all `card_arrival`. Each split therefore gets one permutation, the same on every machine:

1. the rows of each label are ordered by the SHA-256 of their text (ties keep the source order);
2. labels are ordered by the SHA-256 of their name;
3. rows are dealt out label by label, round after round, until none is left.

Any prefix is then as balanced as the split allows, and seed `i` is row `i`. A slice of the labels keeps the
relative order of its rows, so it is the same permutation seen through a filter.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from task_apps.serving.contract import PoolError

SPLITS: Final = ("train", "val", "test")
VAL_ROWS_PER_LABEL: Final = 10
CARVED_SHARE: Final = 5  # one row in five, that is 20 %
MAX_TEXT_CHARACTERS: Final = 20_000
EVERYDAY_10: Final = (
    "activate_my_card",
    "age_limit",
    "apple_pay_or_google_pay",
    "card_arrival",
    "change_pin",
    "exchange_rate",
    "lost_or_stolen_card",
    "terminate_account",
    "top_up_failed",
    "transaction_charged_twice",
)


class DataError(Exception):
    """The rows cannot be used; the text says which file or row and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled query."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Where the rows come from, for people and for the record.

    Attributes:
        name: `path`, `hub` or `sample`.
        detail: File or folder name, or data set and revision.
        licence: Licence of the rows as far as known.
    """

    name: str
    detail: str
    licence: str


@dataclass(frozen=True, slots=True)
class Pool:
    """One split seen through one slice; `rows[i]` is what seed `i` means.

    Attributes:
        sha256: Hash over the ordered rows: equal hashes mean equal seeds.
    """

    split: str
    rows: tuple[Row, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class TaskSlice:
    """The task restricted to its first `len(labels)` labels, with one pool for each split."""

    labels: tuple[str, ...]
    pools: MappingProxyType[str, Pool]

    def pool(self, split: str) -> Pool:
        """Return one split's pool.

        Raises:
            PoolError: if the name is not one of train, val, test.
        """
        try:
            return self.pools[split]
        except KeyError:
            raise PoolError(f"Unknown split {split!r}. Use one of: {', '.join(SPLITS)}.") from None


@dataclass(frozen=True)
class TaskData:
    """All rows in their fixed order; slices are made on demand and kept.

    Attributes:
        notes: What was done to the rows (carved splits, dropped overlaps), in sentences.
    """

    source: SourceInfo
    labels: tuple[str, ...]
    splits: MappingProxyType[str, tuple[Row, ...]]
    notes: tuple[str, ...]
    _slices: dict[int, TaskSlice] = field(default_factory=dict, repr=False, compare=False)

    def slice(self, num_intents: int | None = None) -> TaskSlice:
        """Return the slice of the first `num_intents` labels; None means all of them.

        Raises:
            PoolError: if the number is outside 2..len(labels), or a split of the slice holds one label only.
        """
        count = len(self.labels) if num_intents is None else num_intents
        if not 2 <= count <= len(self.labels):
            raise PoolError(f"num_intents {count} is out of range: use 2 to {len(self.labels)}.")
        if count not in self._slices:
            self._slices[count] = _make_slice(self.labels[:count], self.splits)
        return self._slices[count]


def build_task_data(source: SourceInfo, raw: Mapping[str, Sequence[Row]]) -> TaskData:
    """Clean, split and order rows.

    Args:
        source: Where `raw` was read.
        raw: Rows per split; `train` is required, missing `val` and `test` are carved from it.

    Raises:
        DataError: if a row is unusable, a split stays empty, or fewer than two labels remain.
    """
    notes: list[str] = []
    splits = {name: tuple(rows) for name, rows in raw.items() if rows}
    for name, rows in splits.items():
        _check_rows(name, rows)
    if "train" not in splits:
        raise DataError("The data has no train rows. Give a train.csv, or rows whose split is train.")

    if "test" not in splits:
        splits["test"], splits["train"] = carve(splits["train"])
        notes.append(f"test: {len(splits['test'])} rows carved from train")
    splits["train"] = _without_overlap("train", splits["train"], "test", splits["test"], notes)
    if "val" not in splits:
        splits["val"], splits["train"] = carve(splits["train"])
        notes.append(f"val: {len(splits['val'])} rows carved from train")
    else:
        splits["val"] = _without_overlap("val", splits["val"], "test", splits["test"], notes)
    splits["train"] = _without_overlap("train", splits["train"], "val", splits["val"], notes)

    labels = order_labels({row.label for rows in splits.values() for row in rows})
    _check_labels(labels, splits, notes)
    ordered = {name: interleave(splits[name]) for name in SPLITS}
    data = TaskData(source, labels, MappingProxyType(ordered), tuple(notes))
    try:
        data.slice()
    except PoolError as error:
        raise DataError(f"The data cannot be used: {error}") from error
    return data


def carve(rows: Sequence[Row]) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Split rows into (held out, rest), label by label.

    Each label gives the first 10 rows of its hash order, but at most a fifth of them; a label of two to four
    rows gives one, a label of one row gives none.
    """
    held_out: list[Row] = []
    rest: list[Row] = []
    for label_rows in _by_label(rows).values():
        count = min(VAL_ROWS_PER_LABEL, max(1, len(label_rows) // CARVED_SHARE)) if len(label_rows) > 1 else 0
        held_out += label_rows[:count]
        rest += label_rows[count:]
    return tuple(held_out), tuple(rest)


def interleave(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Order rows so that every prefix is as balanced over labels as can be (module docstring)."""
    groups = _by_label(rows)
    names = sorted(groups, key=_digest)
    rounds = max((len(group) for group in groups.values()), default=0)
    return tuple(groups[name][turn] for turn in range(rounds) for name in names if turn < len(groups[name]))


def order_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return labels in slice order: the everyday ten first if all are present, then case-folded A to Z."""
    alphabetical = sorted(labels, key=lambda label: (label.casefold(), label))
    if not set(EVERYDAY_10) <= set(alphabetical):
        return tuple(alphabetical)
    return EVERYDAY_10 + tuple(label for label in alphabetical if label not in EVERYDAY_10)


def slice_name(labels: Sequence[str], all_labels: Sequence[str]) -> str:
    """Name a slice for people: `everyday-10`, `all-77`, or `first-25`."""
    if len(labels) == len(all_labels):
        return f"all-{len(labels)}"
    return "everyday-10" if tuple(labels) == EVERYDAY_10 else f"first-{len(labels)}"


def hash_rows(rows: Iterable[Row]) -> str:
    """Return the SHA-256 over rows in order: one line of JSON `["text","label"]` for each, UTF-8."""
    digest = hashlib.sha256()
    for row in rows:
        line = json.dumps([row.text, row.label], ensure_ascii=False, separators=(",", ":"))
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def hash_slice(task_slice: TaskSlice) -> str:
    """Return one SHA-256 for the three pools of a slice."""
    return _digest("\n".join(task_slice.pools[name].sha256 for name in SPLITS))


def comparable_text(text: str) -> str:
    """Return the form in which two texts count as the same query: NFKC, case and spaces evened out."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _make_slice(labels: tuple[str, ...], splits: MappingProxyType[str, tuple[Row, ...]]) -> TaskSlice:
    wanted = set(labels)
    pools = {}
    for name in SPLITS:
        rows = tuple(row for row in splits[name] if row.label in wanted)
        if len({row.label for row in rows}) < 2:
            raise PoolError(
                f"The {name} split holds rows of fewer than two of these {len(labels)} labels, "
                "so no score on it would mean anything. Use more labels or more rows."
            )
        pools[name] = Pool(name, rows, hash_rows(rows))
    return TaskSlice(labels, MappingProxyType(pools))


def _by_label(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.label, []).append(row)
    return {label: sorted(group, key=lambda row: _digest(row.text)) for label, group in groups.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _check_rows(split: str, rows: Sequence[Row]) -> None:
    for number, row in enumerate(rows, 1):
        where = f"Row {number} of {split}"
        if not row.text.strip() or not row.label.strip():
            raise DataError(f"{where} has an empty text or label. Fill it in or remove the row.")
        if len(row.text) > MAX_TEXT_CHARACTERS:
            raise DataError(f"{where} has {len(row.text)} characters; at most {MAX_TEXT_CHARACTERS} are accepted.")
        try:
            (row.text + row.label).encode()
        except UnicodeEncodeError:
            raise DataError(f"{where} is not valid Unicode text (lone surrogate).") from None


def _check_labels(labels: Sequence[str], splits: dict[str, tuple[Row, ...]], notes: list[str]) -> None:
    if len(labels) < 2:
        raise DataError(f"The data holds {len(labels)} label; a classification task needs at least two.")
    for name in SPLITS:
        missing = len(labels) - len({row.label for row in splits[name]})
        if missing:
            notes.append(f"{name}: {missing} of {len(labels)} labels have no row")
        repeated = len(splits[name]) - len({comparable_text(row.text) for row in splits[name]})
        if repeated:
            notes.append(f"{name}: {repeated} rows repeat a text of the same split (kept)")


def _without_overlap(
    name: str, rows: Sequence[Row], other: str, other_rows: Sequence[Row], notes: list[str]
) -> tuple[Row, ...]:
    known = {comparable_text(row.text) for row in other_rows}
    kept = tuple(row for row in rows if comparable_text(row.text) not in known)
    if len(kept) < len(rows):
        notes.append(f"{name}: {len(rows) - len(kept)} rows dropped whose text is also in {other}")
    if not kept:
        raise DataError(f"No {name} row is left after dropping texts that are also in {other}.")
    return kept
