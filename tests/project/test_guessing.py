"""What a table is taken for, and how sure that is."""

from __future__ import annotations

import random

import pytest

from mipro_walk.errors import ConfigError
from mipro_walk.project.guessing import Guess, guess
from mipro_walk.project.rows import Row, Table

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "then", "sleeps", "well", "today"]
RNG = random.Random(3)


def text(words: int) -> str:
    return " ".join(RNG.choices(WORDS, k=words))


def table(columns: tuple[str, ...], make, n: int = 120) -> Table:
    rows = tuple(Row(i + 2, dict(zip(columns, map(str, make(i)), strict=True))) for i in range(n))
    return Table("data.csv", columns, rows)


TABLES = {
    "classification": (("query", "intent"), lambda i: (text(9), f"intent {i % 7}")),
    "classification by numbers": (("text", "label"), lambda i: (text(9), i % 2)),
    "multi_label": (("plot", "genres"), lambda i: (text(30), ["drama;war", "comedy", "war;comedy;drama"][i % 3])),
    "multi_label in lists": (("plot", "tags"), lambda i: (text(30), ['["a", "b"]', '["c"]', "[]"][i % 3])),
    "extraction": (("mail", "fields"), lambda i: (text(20), f'{{"amount": {i}}}')),
    "short_answer": (("question", "answer"), lambda i: (text(8), f"{WORDS[i % 14]} {i}")),
    "rating": (("review", "stars"), lambda i: (text(12), 2 + i % 3)),
    "judged": (("prompt", "response"), lambda i: (text(8), text(40))),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_kind_follows_from_the_answers(name: str) -> None:
    columns, make = TABLES[name]
    found = guess(table(columns, make))
    assert found.kind == name.split()[0]
    assert (found.columns, found.target) == ((columns[0],), columns[1])
    assert found.confidence != "low"
    assert len(found.reasons) == 3


def test_a_scale_is_widened_to_where_scales_usually_end() -> None:
    found = guess(table(*TABLES["rating"]))
    assert (found.low, found.high) == (1, 5)


def test_columns_that_belong_together_by_their_names_are_taken_together() -> None:
    found = guess(table(("id", "Subject", "Body", "team"), lambda i: (i, text(4), text(20), "abc"[i % 3])))
    assert found.columns == ("Subject", "Body")
    assert found.target == "team"


def test_a_split_column_is_recognised_and_is_neither_text_nor_answer() -> None:
    found = guess(table(("text", "label", "fold"), lambda i: (text(9), "ab"[i % 2], ["train", "dev", "test"][i % 3])))
    assert found.split_column == "fold"
    assert found.target == "label"


def test_columns_without_a_hint_are_a_guess_that_a_person_should_confirm() -> None:
    found = guess(table(("a", "b", "c"), lambda i: (text(9), "xyz"[i % 3], "uvw"[i % 2])))
    assert found.confidence == "low"


def test_what_is_said_stays() -> None:
    made = table(("text", "label", "other"), lambda i: (text(9), "ab"[i % 2], "cd"[i % 2]))
    found = guess(made, columns=("other",), target="text", kind="short_answer")
    assert (found.columns, found.target, found.kind, found.confidence) == (("other",), "text", "short_answer", "high")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"target": "lable"}, "There is no column 'lable' in data.csv. Did you mean 'label'?"),
        ({"columns": ("Text",)}, "There is no column 'Text' in data.csv. Did you mean 'text'?"),
    ],
)
def test_a_column_that_is_not_there_is_refused_with_the_nearest_one(said, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        guess(table(("text", "label"), lambda i: (text(9), "ab"[i % 2])), **said)
    assert caught.value.message == message


def test_a_table_of_one_column_is_no_task() -> None:
    with pytest.raises(ConfigError, match="1 column with something in it; a task needs a text and an answer"):
        guess(table(("text", "label"), lambda i: (text(9), "")))


def test_the_guess_is_the_same_for_every_order_of_columns() -> None:
    def found(order: tuple[int, ...]) -> Guess:
        names = ("message", "category", "id")
        return guess(
            table(tuple(names[i] for i in order), lambda i: [(f"{text(9)}", "ab"[i % 2], i)[k] for k in order])
        )

    assert {(g.columns, g.target) for g in map(found, [(0, 1, 2), (2, 1, 0), (1, 2, 0)])} == {
        (("message",), "category")
    }
