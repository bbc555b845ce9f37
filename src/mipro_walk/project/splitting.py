"""Divides checked rows into train, val and test: the same rows for the same file and number, every label in each.

Rows with the same text (case, punctuation and blanks aside) stay together, so that none is both learned and tested. The
place of a row follows from its text and the rng seed, not from its place in the file: sorting the file changes nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mipro_walk.core.overlap import normal
from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError
from mipro_walk.project.answers import LABEL_KINDS, Rules, labels_in
from mipro_walk.project.rows import Dropped, Finding, Row, in_words, shown
from mipro_walk.types import Split

SPLITS: tuple[Split, ...] = ("train", "val", "test")
SPLIT_WORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "heldout", "held-out"), "test"),
}


@dataclass(frozen=True, slots=True)
class Splits:
    """Divided rows.

    Attributes:
        rows: for each split its rows in the order of use, interleaved by label: each prefix looks like the whole.
        dropped: rows that are in no split: an unknown word in the split column, or a text that a later split holds.
        strata: the label (or rating) of each row by its number; one for all where there are none.
    """

    rows: Mapping[Split, tuple[Row, ...]]
    dropped: tuple[Dropped, ...]
    findings: tuple[Finding, ...]
    strata: Mapping[int, str]

    def counts(self) -> dict[str, dict[Split, int]]:
        """Return the number of rows by label and split."""
        found: dict[str, dict[Split, int]] = {}
        for split, rows in self.rows.items():
            for row in rows:
                found.setdefault(self.strata[row.number], dict.fromkeys(SPLITS, 0))[split] += 1
        return found


@dataclass(frozen=True, slots=True)
class _Basis:
    """What places follow from, by row number: the label to balance by and the text to keep together."""

    strata: Mapping[int, str]
    keys: Mapping[int, str]
    rng_seed: int


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows with the same text."""

    rows: tuple[Row, ...]
    stratum: str
    rank: str


def split_rows(rows: Sequence[Row], rules: Rules, *, shares: Mapping[str, float], rng_seed: int) -> Splits:
    """Divide ``rows`` by ``rules.split_column`` if there is one, else by ``shares``. Deterministic.

    Labels with three rows or more are in every split; with two they are in train and test, with one in train.

    Args:
        shares: of train, val and test; they add up to 1.

    Raises:
        ConfigError: a split would be empty.
    """
    basis = _Basis(_strata(rows, rules), {row.number: _key(row, rules) for row in rows}, rng_seed)
    dropped: list[Dropped] = []
    findings: list[Finding] = []
    if rules.split_column is None:
        chosen = _divide(_groups(rows, basis), shares)
    else:
        chosen = _by_column(rows, rules.split_column, basis, dropped, findings)
        _carve_missing(chosen, rules.split_column, shares, basis, findings)
    if empty := [split for split in SPLITS if not chosen[split]]:
        distinct = counted(len(set(basis.keys.values())), "different text")
        raise ConfigError(
            f"No row is left for {' and '.join(empty)}: {distinct} in all.", "Give more rows, or other shares."
        )
    order = {split: tuple(_interleaved(chosen[split], rules, basis)) for split in SPLITS}
    return Splits(order, tuple(sorted(dropped, key=lambda row: row.number)), tuple(findings), basis.strata)


def _strata(rows: Sequence[Row], rules: Rules) -> dict[int, str]:
    """Return what each row is balanced by: its label, its rarest label, its rating, or nothing."""
    if rules.kind == "multi_label":
        counts = Counter(labels_in(rows, rules))
        return {row.number: min(labels_in([row], rules), key=lambda x: (counts[x], x)) for row in rows}
    if rules.kind in LABEL_KINDS or rules.kind == "rating":
        return {row.number: row.cells[rules.target] for row in rows}
    return {row.number: "" for row in rows}


def _key(row: Row, rules: Rules) -> str:
    text = "\n".join(normal(row.cells[column]) for column in rules.columns)
    return text if text.strip() else "\n".join(row.cells[column] for column in rules.columns)


def _rank(key: str, rng_seed: int) -> str:
    return hashlib.sha256(f"{rng_seed}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()


def _groups(rows: Sequence[Row], basis: _Basis) -> list[_Group]:
    """Return the groups in an order that depends on texts and seed only."""
    by_key: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_key[basis.keys[row.number]].append(row)
    groups = [
        _Group(tuple(same), min(basis.strata[row.number] for row in same), _rank(key, basis.rng_seed))
        for key, same in by_key.items()
    ]
    return sorted(groups, key=lambda group: group.rank)


def _by_stratum(groups: Sequence[_Group]) -> list[list[_Group]]:
    """Return the groups of each label, the label with the fewest first."""
    found: dict[str, list[_Group]] = defaultdict(list)
    for group in groups:
        found[group.stratum].append(group)
    return [members for _, members in sorted(found.items(), key=lambda item: (len(item[1]), item[0]))]


def _divide(groups: Sequence[_Group], shares: Mapping[str, float]) -> dict[Split, list[Row]]:
    chosen: dict[Split, list[Row]] = {split: [] for split in SPLITS}
    owed = dict.fromkeys(SPLITS, 0.0)
    # Small labels first: what their rounding gives to one split, the large ones give back.
    for members in _by_stratum(groups):
        start = 0
        for split, count in _allot(len(members), shares, owed).items():
            for group in members[start : start + count]:
                chosen[split].extend(group.rows)
            start += count
    return chosen


def _allot(n: int, shares: Mapping[str, float], owed: dict[Split, float]) -> dict[Split, int]:
    """Return how many of ``n`` go to each split; ``owed`` carries what rounding left over, and is updated."""
    wanted = {split: shares[split] * n for split in SPLITS}
    if n < len(SPLITS):
        counts: dict[Split, int] = {"train": 1, "val": 0, "test": n - 1}
    else:
        counts = dict.fromkeys(SPLITS, 1)
        for _ in range(n - len(SPLITS)):
            counts[max(SPLITS, key=lambda split: wanted[split] + owed[split] - counts[split])] += 1
    for split in SPLITS:
        owed[split] += wanted[split] - counts[split]
    return counts


def _by_column(
    rows: Sequence[Row], column: str, basis: _Basis, dropped: list[Dropped], findings: list[Finding]
) -> dict[Split, list[Row]]:
    chosen: dict[Split, list[Row]] = {split: [] for split in SPLITS}
    unknown: list[Dropped] = []
    for row in rows:
        split = SPLIT_WORDS.get(row.cells[column].strip().casefold())
        if split is None:
            reason = f"has {shown(row.cells[column])} in {shown(column)}, which is not train, val or test"
            unknown.append(Dropped(row.number, reason, tuple(row.cells.values())))
        else:
            chosen[split].append(row)
    if unknown:
        numbers = tuple(row.number for row in unknown)
        said = f"{counted(len(unknown), 'row')} in no split dropped: {in_words(numbers)}."
        said = f"{said} Row {numbers[0]} {unknown[0].reason}."
        findings.append(Finding("unknown-split", "warning", said, "dropped", numbers, "Write one of these words."))
    overlaps = _drop_overlaps(chosen, basis)
    if overlaps:
        numbers = tuple(row.number for row in overlaps)
        said = f"{counted(len(overlaps), 'row')} dropped whose text a later split holds, too: {in_words(numbers)}."
        findings.append(Finding("split-overlap", "warning", said, "dropped", numbers))
    dropped += [*unknown, *overlaps]
    return chosen


def _drop_overlaps(chosen: dict[Split, list[Row]], basis: _Basis) -> list[Dropped]:
    """Take out of train what val or test holds, and out of val what test holds: test rows are never touched."""
    found: list[Dropped] = []
    held: dict[str, tuple[Split, int]] = {}
    for split in reversed(SPLITS):
        kept = []
        for row in chosen[split]:
            other = held.setdefault(basis.keys[row.number], (split, row.number))
            if other[0] == split:
                kept.append(row)
            else:
                reason = f"is in {split}, and row {other[1]} in {other[0]} has the same text"
                found.append(Dropped(row.number, reason, tuple(row.cells.values())))
        chosen[split] = kept
    return sorted(found, key=lambda row: row.number)


def _carve_missing(
    chosen: dict[Split, list[Row]], column: str, shares: Mapping[str, float], basis: _Basis, findings: list[Finding]
) -> None:
    """Take the splits that the column does not know from train, in place."""
    missing = [split for split in SPLITS if not chosen[split]]
    if not missing or "train" in missing:
        return
    total = shares["train"] + sum(shares[split] for split in missing)
    kept: list[Row] = []
    for members in _by_stratum(_groups(chosen["train"], basis)):
        start = 0
        for split in missing:
            wanted = max(1, round(shares[split] / total * len(members)))
            count = min(wanted, max(0, len(members) - start - 1))
            for group in members[start : start + count]:
                chosen[split].extend(group.rows)
            start += count
        for group in members[start:]:
            kept.extend(group.rows)
    chosen["train"] = kept
    named = " and ".join(missing)
    said = f"{shown(column)} names no {named} rows; they were taken from train."
    findings.append(Finding("missing-split", "warning", said, "repaired", fix=f"Mark rows as {named} there."))


def _interleaved(rows: Sequence[Row], rules: Rules, basis: _Basis) -> Iterator[Row]:
    """Yield the rows so that the labels are spread evenly over the order."""

    def rank(row: Row) -> tuple[str, int]:
        return _rank(f"{basis.keys[row.number]}\0{row.cells[rules.target]}", basis.rng_seed), row.number

    total, seen = Counter(basis.strata[row.number] for row in rows), Counter[str]()
    places: list[tuple[float, int, Row]] = []
    for place, row in enumerate(sorted(rows, key=rank)):
        stratum = basis.strata[row.number]
        places.append(((seen[stratum] + 0.5) / total[stratum], place, row))
        seen[stratum] += 1
    return (row for _, _, row in sorted(places, key=lambda item: item[:2]))
