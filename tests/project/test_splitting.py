"""Dividing rows: the same rows each time, every label in each split where it can be, no text in two splits."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro_walk.core.overlap import normal
from mipro_walk.errors import ConfigError
from mipro_walk.project.answers import Rules
from mipro_walk.project.explaining import explain_split, split_table
from mipro_walk.project.rows import Row
from mipro_walk.project.splitting import SPLITS, Splits, split_rows

SHARES = {"train": 0.4, "val": 0.3, "test": 0.3}
RULES = Rules("classification", ("text",), "label")


def rows_of(*pairs: tuple[str, ...], columns: tuple[str, ...] = ("text", "label")) -> list[Row]:
    return [Row(number, dict(zip(columns, pair, strict=True))) for number, pair in enumerate(pairs, 2)]


def split(rows: list[Row], rules: Rules = RULES, rng_seed: int = 0, shares: dict[str, float] = SHARES) -> Splits:
    return split_rows(rows, rules, shares=shares, rng_seed=rng_seed)


def numbers(splits: Splits) -> dict[str, list[int]]:
    return {name: [row.number for row in splits.rows[name]] for name in SPLITS}


def labelled(*counts: int) -> list[Row]:
    return rows_of(
        *((f"text {label} {n}", f"label {label}") for label, count in enumerate(counts) for n in range(count))
    )


def test_each_label_is_divided_by_the_shares() -> None:
    found = split(labelled(100, 50, 10))
    assert found.counts() == {
        "label 0": {"train": 40, "val": 30, "test": 30},
        "label 1": {"train": 20, "val": 15, "test": 15},
        "label 2": {"train": 4, "val": 3, "test": 3},
    }


def test_small_labels_do_not_shift_the_whole() -> None:
    found = split(labelled(*[4] * 50))
    assert [len(found.rows[name]) for name in SPLITS] == [80, 60, 60]


def test_a_label_with_two_rows_is_learned_and_tested_and_one_with_one_row_learned() -> None:
    counts = split(labelled(20, 2, 1, 3)).counts()
    assert counts["label 1"] == {"train": 1, "val": 0, "test": 1}
    assert counts["label 2"] == {"train": 1, "val": 0, "test": 0}
    assert counts["label 3"] == {"train": 1, "val": 1, "test": 1}


def test_the_order_of_the_file_changes_nothing_and_the_seed_does() -> None:
    rows = labelled(40, 30)
    shuffled = random.Random(7).sample(rows, len(rows))
    assert numbers(split(rows)) == numbers(split(shuffled))
    assert numbers(split(rows)) != numbers(split(rows, rng_seed=1))


def test_the_first_rows_of_each_split_show_every_label() -> None:
    for members in split(labelled(40, 40, 40)).rows.values():
        assert len({row.cells["label"] for row in members[:3]}) == 3


def test_texts_that_differ_by_case_and_punctuation_stay_together() -> None:
    pairs = [
        (f"{text}{end}", label) for text in map(str, range(20)) for end, label in (("", "a"), ("!", "b"), (" ?", "a"))
    ]
    found = split(rows_of(*pairs))
    homes = [{normal(row.cells["text"]) for row in found.rows[name]} for name in SPLITS]
    assert not homes[0] & homes[1]
    assert not homes[0] & homes[2]
    assert not homes[1] & homes[2]


def test_one_text_alone_cannot_be_divided() -> None:
    with pytest.raises(ConfigError, match="No row is left for val: 2 different texts in all"):
        split(rows_of(("same", "a"), ("same!", "b"), ("other", "a")), Rules("short_answer", ("text",), "label"))


def by_column(*pairs: tuple[str, str, str]) -> Splits:
    rows = rows_of(*pairs, columns=("text", "label", "part"))
    return split(rows, Rules("classification", ("text",), "label", split_column="part"))


def test_a_split_column_is_obeyed_in_its_usual_words() -> None:
    found = by_column(("x", "a", "train"), ("y", "b", " Dev "), ("z", "a", "TEST"), ("v", "b", "validation"))
    assert {name: set(found) for name, found in numbers(found).items()} == {"train": {2}, "val": {3, 5}, "test": {4}}
    assert not found.findings


def test_rows_in_an_unknown_split_are_dropped_and_said() -> None:
    found = by_column(("x", "a", "train"), ("y", "b", "dev"), ("z", "a", "test"), ("v", "b", "later"), ("w", "b", ""))
    assert [row.number for row in found.dropped] == [5, 6]
    assert found.findings[0].text == (
        "2 rows in no split dropped: rows 5, 6. Row 5 has 'later' in 'part', which is not train, val or test."
    )


def test_test_rows_are_kept_where_splits_overlap() -> None:
    found = by_column(
        ("x", "a", "train"), ("X!", "a", "test"), ("y", "b", "val"), ("z", "a", "train"), ("y", "b", "train")
    )
    assert numbers(found) == {"train": [5], "val": [4], "test": [3]}
    assert [(row.number, row.reason) for row in found.dropped] == [
        (2, "is in train, and row 3 in test has the same text"),
        (6, "is in train, and row 4 in val has the same text"),
    ]


def test_a_missing_split_is_taken_from_train_and_said() -> None:
    pairs = [(f"text {n}", "ab"[n % 2], "test" if n >= 40 else "train") for n in range(60)]
    found = by_column(*pairs)
    assert [len(found.rows[name]) for name in SPLITS] == [22, 18, 20]
    assert found.findings[0].text == "'part' names no val rows; they were taken from train."


def test_a_column_without_train_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match="No row is left for train"):
        by_column(("x", "a", "test"), ("y", "b", "val"), ("z", "a", "test"))


def test_multi_label_rows_are_balanced_by_their_rarest_label() -> None:
    pairs = [(f"text {n}", "common;rare" if n < 10 else "common") for n in range(100)]
    found = split(rows_of(*pairs), Rules("multi_label", ("text",), "label"))
    assert found.counts()["rare"] == {"train": 4, "val": 3, "test": 3}


def test_the_explanation_says_sizes_gaps_and_what_the_test_sees() -> None:
    found = split(labelled(100, 98, 2))
    said = explain_split(found, RULES, 0, 40)
    assert said[0].startswith("Divided into train 80 rows (demonstrations and new instructions come from these), val ")
    assert "Drawn by rng seed 0, each label in the same proportions" in said[1]
    assert said[2] == "1 label of 3 not in val, for want of rows: 'label 2'."
    assert said[3].startswith("40 test rows show a difference of 24 points or more in four runs of five")
    assert said[4] == "Always answering 'label 0' would be right on 50% of the test rows."


def test_the_table_sums_up_what_it_does_not_list() -> None:
    columns, rows = split_table(split(labelled(*[10] * 20)), limit=2)
    assert columns == ("", "train", "val", "test")
    assert rows[2:] == [("18 more", "72", "54", "54"), ("all", "80", "60", "60")]


PAIR = st.tuples(
    st.text("ab! \n", min_size=1, max_size=4), st.sampled_from("xyz"), st.sampled_from(["train", "val", "test", "?"])
)


@given(st.lists(PAIR, max_size=40), st.booleans(), st.integers(0, 3))
def test_every_row_is_in_one_split_or_dropped_and_no_text_in_two(pairs, has_column, rng_seed) -> None:
    rules = Rules("classification", ("text",), "label", split_column="part" if has_column else None)
    rows = rows_of(*pairs, columns=("text", "label", "part"))
    try:
        found = split(rows, rules, rng_seed)
    except ConfigError:
        return
    kept = [row.number for members in found.rows.values() for row in members]
    assert sorted([*kept, *(row.number for row in found.dropped)]) == [row.number for row in rows]
    homes: dict[str, set[str]] = {}
    for name, members in found.rows.items():
        for row in members:
            homes.setdefault(normal(row.cells["text"]) or row.cells["text"], set()).add(name)
    assert all(len(names) == 1 for names in homes.values())
