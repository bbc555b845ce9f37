"""The word diff of two instructions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro_walk.report.diff import MAX_WORDS, word_diff


def test_changed_words_stand_between_those_that_stay():
    assert word_diff("Answer with one label.", "Answer with exactly one label, please.") == [
        ("same", "Answer with "),
        ("ins", "exactly "),
        ("same", "one "),
        ("del", "label. "),
        ("ins", "label, please."),
    ]


def test_equal_texts_have_no_parts():
    assert word_diff("Sort the question.", "Sort the question.") == []


def test_texts_with_little_in_common_stand_one_after_the_other():
    before, after = "Sort the question.", "You are a bank clerk. Name the intent of every message you are sent."
    assert word_diff(before, after) == [("del", before + "\n\n"), ("ins", after)]


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_side_is_all_added_or_all_removed(empty):
    assert {kind for kind, _ in word_diff(empty, "Sort it.")} <= {"ins", "del"}
    assert {kind for kind, _ in word_diff("Sort it.", empty)} <= {"ins", "del"}


@given(st.text("ab c\n", max_size=80), st.text("ab c\n", max_size=80))
def test_no_word_is_lost_or_invented(before, after):
    parts = word_diff(before, after) or [("same", after)]
    new = "".join(text for kind, text in parts if kind != "del")
    old = "".join(text for kind, text in parts if kind != "ins")
    assert new == after
    assert old.split() == before.split()


def test_long_texts_are_compared_by_lines():
    lines = [f"word{i} of line {i}\n" for i in range(MAX_WORDS)]
    parts = word_diff("".join(lines), "".join([*lines[:-1], "another end\n"]))
    assert parts[1:] == [("del", lines[-1]), ("ins", "another end\n")]
