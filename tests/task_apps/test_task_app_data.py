"""Splits, order, slices and hashes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from task_apps.banking77.data import (
    EVERYDAY_10,
    DataError,
    PoolError,
    Row,
    SourceInfo,
    build_task_data,
    carve,
    comparable_text,
    hash_rows,
    interleave,
    order_labels,
    slice_name,
)

INFO = SourceInfo("path", "x", "none")
some_rows = st.lists(st.builds(Row, st.text("abcdef ", min_size=1), st.sampled_from("ABCDE")), max_size=60)


@settings(deadline=None, max_examples=60)
@given(some_rows, st.randoms())
def test_order_does_not_depend_on_the_order_of_the_file(rows: list[Row], random: Any) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert interleave(shuffled) == interleave(rows)
    assert Counter(interleave(rows)) == Counter(rows)


@settings(deadline=None, max_examples=60)
@given(some_rows, st.integers(0, 60))
def test_every_prefix_is_as_balanced_as_the_rows_allow(rows: list[Row], size: int) -> None:
    available = Counter(row.label for row in rows)
    used = Counter(row.label for row in interleave(rows)[:size])
    most = max(used.values(), default=0)
    assert all(used[label] >= min(available[label], most - 1) for label in available)


@settings(deadline=None, max_examples=60)
@given(some_rows)
def test_a_slice_keeps_the_order_its_rows_would_get_alone(rows: list[Row]) -> None:
    alone = interleave(row for row in rows if row.label in "AB")
    assert alone == tuple(row for row in interleave(rows) if row.label in "AB")


def test_order_is_pinned_so_that_seeds_keep_their_meaning_between_releases(kit: Any) -> None:
    pools = kit.make_data().slice().pools
    assert pools["train"].rows[0] == Row("train question 3 about card_arrival", "card_arrival")
    assert pools["train"].sha256 == "d142734cec8f97e5ceeb5883f610def9cd4cdaf8c8e0bc0eb1c9f099f1b6db88"


@pytest.mark.parametrize(("rows", "expected"), [(1, 0), (2, 1), (4, 1), (10, 2), (50, 10), (500, 10)])
def test_carving_takes_a_fifth_of_a_label_but_at_most_ten_rows(rows: int, expected: int) -> None:
    held_out, rest = carve([Row(f"text {n}", "label") for n in range(rows)])
    assert (len(held_out), len(rest)) == (expected, rows - expected)


def test_missing_splits_are_carved_from_train_and_said(kit: Any) -> None:
    data = build_task_data(INFO, {"train": kit.make_rows("train", 20)})
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 52, "val": 12, "test": 16}
    assert data.notes == ("test: 16 rows carved from train", "val: 12 rows carved from train")


def test_texts_of_test_leave_val_and_train_and_texts_of_val_leave_train(kit: Any) -> None:
    raw = {name: kit.make_rows(name, 4) for name in ("train", "val", "test")}
    raw["train"] += [Row("  TEST question 0 ABOUT exchange_rate", "exchange_rate"), raw["val"][0]]
    raw["val"].append(raw["test"][1])
    data = build_task_data(INFO, raw)
    texts = {name: {comparable_text(row.text) for row in rows} for name, rows in data.splits.items()}
    assert not texts["train"] & texts["val"]
    assert not (texts["train"] | texts["val"]) & texts["test"]
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 16, "val": 16, "test": 16}
    assert data.notes == (
        "train: 1 rows dropped whose text is also in test",
        "val: 1 rows dropped whose text is also in test",
        "train: 1 rows dropped whose text is also in val",
    )


def test_repeated_texts_of_one_split_are_kept_and_reported(kit: Any) -> None:
    raw = {name: kit.make_rows(name, 4) for name in ("train", "val", "test")}
    raw["test"].append(raw["test"][0])
    data = build_task_data(INFO, raw)
    assert len(data.splits["test"]) == 17
    assert data.notes == ("test: 1 rows repeat a text of the same split (kept)",)


def test_everyday_labels_come_first_then_the_alphabet_without_regard_to_case() -> None:
    assert order_labels({*EVERYDAY_10, "Zebra", "apple"})[-2:] == ("apple", "Zebra")
    assert order_labels({*EVERYDAY_10, "Zebra"})[:10] == EVERYDAY_10
    assert order_labels({"Zebra", "apple", "card_arrival"}) == ("apple", "card_arrival", "Zebra")


def test_slices_have_names_for_people() -> None:
    labels = order_labels({*EVERYDAY_10, "x", "y"})
    assert [slice_name(labels[:n], labels) for n in (3, 10, 12)] == ["first-3", "everyday-10", "all-12"]


@pytest.mark.parametrize("count", [-1, 0, 1, 5])
def test_slice_outside_the_labels_is_refused_with_the_range(count: int, kit: Any) -> None:
    with pytest.raises(PoolError, match="use 2 to 4"):
        kit.make_data().slice(count)


def test_slice_whose_split_holds_one_label_is_refused(kit: Any) -> None:
    raw = {name: kit.make_rows(name, 4) for name in ("train", "val", "test")}
    raw["val"] = [row for row in raw["val"] if row.label != "card_arrival"]
    with pytest.raises(PoolError, match="val split holds rows of fewer than two"):
        build_task_data(INFO, raw).slice(2)


def test_slices_have_hashes_of_their_own_and_are_made_once(kit: Any) -> None:
    data = kit.make_data()
    assert data.slice(3) is data.slice(3)
    assert data.slice() is data.slice(4)
    assert data.slice(3).pool("test").sha256 != data.slice(4).pool("test").sha256
    assert data.slice().pool("test").sha256 == hash_rows(data.splits["test"])


def test_unknown_split_is_refused_with_the_known_ones(kit: Any) -> None:
    with pytest.raises(PoolError, match="train, val, test"):
        kit.make_data().slice().pool("dev")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"test": [Row("a", "b")]}, "no train rows"),
        ({"train": [Row(f"t{n}", "only") for n in range(20)]}, "at least two"),
        ({"train": [Row("a", "x"), Row(" ", "y")]}, "Row 2 of train has an empty"),
        ({"train": [Row("a", "")]}, "Row 1 of train has an empty"),
        ({"train": [Row("x" * 20_001, "y")]}, "at most 20000"),
        ({"train": [Row("\ud800", "y")]}, "lone surrogate"),
        ({"train": [Row("same", "x")], "test": [Row("Same", "x")]}, "No train row is left"),
        ({"train": [Row("a", "x"), Row("b", "y")], "test": [Row("c", "x"), Row("d", "y")]}, "val split"),
    ],
)
def test_unusable_rows_are_refused_with_the_reason(raw: dict[str, list[Row]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_task_data(INFO, raw)
