"""What is done about rows that overlap, orders that are sorted and pools that are unbalanced."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from mipro_walk.core.optimizer import optimize
from mipro_walk.core.overlap import near_duplicates, normal
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.core.splits import clean, is_mixed, mix
from mipro_walk.types import Event, Example
from tests.fakes.landscape import LABELS, Landscape, ScriptedProposer, make_task

TASK = make_task()


def planted(query="My new bicycle was not delivered so far, where is it?"):
    """A task with one row of train in val, one of train nearly in test, and one of val in test."""
    train = [
        *TASK.train,
        Example(100, query, "card"),
        Example(101, "Can you tell me where my branch is", "cash"),
    ]
    val = [*TASK.val, Example(100, query.upper() + "!!", "card"), Example(101, "Why was my salary not paid in", "pin")]
    test = [*TASK.test, Example(200, "can you tell me where my branch is?!", "cash")]
    return replace(TASK, train=train, val=val, test=[*test, Example(201, "why was my salary not paid in?", "pin")])


def test_clean_splits_stay_as_they_are():
    cleaned, report = clean(TASK)
    assert (list(cleaned.train), list(cleaned.val), list(cleaned.test)) == (TASK.train, TASK.val, TASK.test)
    assert report.overlaps == ()
    assert report.warnings == ()
    assert report.rows == {"train": 40, "val": 60, "test": 100}


def test_rows_that_stand_in_another_split_leave_train_then_val_and_never_test():
    task = planted()
    cleaned, report = clean(task)
    assert list(cleaned.test) == task.test
    assert {o.dropped for o in report.overlaps} == {("train", 100), ("train", 101), ("val", 101)}
    assert {o.dropped: o.kept for o in report.overlaps}[("train", 100)] == ("val", 100)
    assert 100 in [row.seed for row in cleaned.val]
    assert any(
        "1 row of val dropped for resembling test: 1 exactly, 0 nearly" in warning for warning in report.warnings
    )


def test_near_duplicates_are_found_and_shared_templates_are_not():
    texts = ["My parcel was not at the door today.", "How do I paint my fence?", "pin"]
    others = [
        "my parcel was left elsewhere",
        "MY PARCEL WAS NOT AT THE DOOR TODAY",
        "My parcel was not at the door today, why",
        "How do I sell my fence?",
        "Pin!",
    ]
    found = {(i, j) for i, j, _ in near_duplicates(texts, others)}
    assert found == {(0, 1), (0, 2), (2, 4)}


def test_rows_without_a_word_are_the_same_only_if_they_are():
    assert [(i, j) for i, j, _ in near_duplicates(["🙂", "?!", " 🙁 "], ["🙁", "?!", "..."])] == [(1, 1), (2, 0)]


def test_index_finds_every_pair_that_comparing_all_finds():
    rng = random.Random(0)
    words = ["card", "lost", "where", "money", "transfer", "is", "my", "top", "up", "now"]
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 7))) for _ in range(150)]

    def similarity(a, b):
        a, b = ({t[i : i + 5] for i in range(max(1, len(t) - 4))} for t in (normal(a), normal(b)))
        return len(a & b) / len(a | b)

    expected = {(i, j) for i, a in enumerate(texts) for j, b in enumerate(texts) if similarity(a, b) >= 0.8}
    assert {(i, j) for i, j, _ in near_duplicates(texts, texts)} == expected
    assert len(expected) > 150


def test_no_demonstration_is_a_row_that_is_scored():
    result = optimize(planted(), Landscape(), ScriptedProposer(), OptimizerSettings(num_demos=20, num_demo_sets=20))
    scored = {normal(row.query) for row in (*planted().val, *planted().test)}
    shown = {normal(demo.query) for demo_set in result.space.stages[0].demo_sets for demo in demo_set.demos}
    assert len(shown) > 30
    assert not shown & scored


def test_split_hash_follows_the_rows():
    _, report = clean(TASK)
    _, again = clean(make_task())
    _, other = clean(replace(TASK, test=TASK.test[:-1]))
    assert report.split_hash == again.split_hash != other.split_hash


def test_val_sorted_by_label_is_interleaved_and_a_mixed_order_is_kept():
    ordered = sorted(TASK.val, key=lambda row: row.label)
    cleaned, report = clean(replace(TASK, val=ordered))
    assert {row.label for row in cleaned.val[:5]} == set(LABELS)
    assert sorted(row.seed for row in cleaned.val) == sorted(row.seed for row in ordered)
    assert any("ordered by label" in warning for warning in report.warnings)
    assert is_mixed(TASK.val)


def test_every_prefix_of_a_mixed_order_looks_like_the_whole():
    rows = [Example(i, str(i), "many" if i < 80 else "few") for i in range(100)]
    order = mix(rows)
    for count in (5, 20, 50, 100):
        assert abs(Counter(row.label for row in order[:count])["few"] - 0.2 * count) <= 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: replace(t, val=[r for r in t.val if r.label != "pin"]), "1 of 5 labels have no row in val: pin"),
        (lambda t: replace(t, train=[*t.train, replace(t.train[0], seed=900, label="pin")]), "with different labels"),
        (
            lambda t: replace(t, val=[r if i % 4 == 0 else replace(r, label="card") for i, r in enumerate(t.val)]),
            "val is unbalanced: always answering 'card'",
        ),
        (lambda t: replace(t, instruction=f"Sort. Example: {t.test[3].query}"), "the starting instruction holds text"),
    ],
)
def test_odd_pools_are_named(change, words):
    assert any(words in warning for warning in clean(change(TASK))[1].warnings)


def test_report_is_an_event_and_part_of_the_result():
    events: list[Event] = []
    result = optimize(planted(), Landscape(), ScriptedProposer(), OptimizerSettings(num_demos=3), emit=events.append)
    event = next(e for e in events if e.type == "mipro.data.checked")
    assert "Note: " in event.message
    assert event.data["split_hash"] == result.data.split_hash
    assert len(event.data["dropped"]) == len(result.data.overlaps) == 3
