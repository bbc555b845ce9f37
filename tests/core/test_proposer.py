"""Instructions: what proposers write and what is refused."""

from __future__ import annotations

import json

import pytest

from mipro_walk.core.bootstrap import Evidence
from mipro_walk.core.leaks import LeakGuard
from mipro_walk.core.proposer import (
    PATTERNS,
    MetaModelProposer,
    MixedProposer,
    PatternProposer,
    ProposalRequest,
    screen,
    tidy,
)
from mipro_walk.core.search_space import Instruction
from mipro_walk.types import Outcome
from tests.fakes.landscape import make_task

TASK = make_task()


def request(**changes) -> ProposalRequest:
    values = {"task": TASK, "evidence": Evidence(), "bootstrap_seed": 0, "count": 4, "rng_seed": 0}
    return ProposalRequest(**{**values, **changes})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty or cut off"),
        (" \n ", "empty or cut off"),
        ("x " * 3_000, "too long"),
        ("Sort it", "too short"),
        ("SORT  the question!", "duplicate"),
        (f"Answer like this: {TASK.val[3].query}.", "copies a val or test row"),
        (f"Answer like this: {TASK.test[7].query.upper()}!", "copies a val or test row"),
    ],
)
def test_useless_and_leaking_texts_are_refused_with_a_reason(text, reason):
    result = screen([Instruction(text, "meta-model")], [TASK.instruction], LeakGuard(TASK))
    assert (result.accepted, dict(result.refused)) == ([], {reason: 1})


def test_train_rows_may_be_quoted_and_good_texts_pass():
    good = Instruction(f"Think of cases like {TASK.train[0].query}.", "meta-model")
    assert screen([good], [], LeakGuard(TASK)).accepted == [good]


def test_meta_model_sees_what_went_wrong_as_delimited_data():
    evidence = Evidence()
    evidence.add(TASK.train[0], Outcome(1.0, "card"))
    evidence.add(TASK.train[1], Outcome(0.0, "pin"))
    asked = []

    def complete(messages, temperature):
        asked.append((messages, temperature))
        return "A summary." if len(asked) == 1 else f"Instruction: look twice, number {len(asked)}."

    proposed = MetaModelProposer(complete).propose(request(evidence=evidence, count=2))
    assert [i.text for i in proposed] == ["look twice, number 2.", "look twice, number 3."]
    data = json.loads(asked[1][0][1]["content"])
    assert data["confused"] == [{"right": TASK.train[1].label, "answered": "pin", "times": 1}]
    assert data["about_the_data"] == "A summary."
    assert data["tip"] != json.loads(asked[2][0][1]["content"])["tip"]
    held_out = {row.query for row in (*TASK.val, *TASK.test)}
    assert not any(query in str(asked) for query in held_out)


def test_patterns_are_handed_out_once():
    first = PatternProposer().propose(request())
    second = PatternProposer().propose(request(existing=[i.text for i in first], bootstrap_seed=1))
    assert [i.text for i in (*first, *second)] == list(PATTERNS[:8])
    assert {i.source for i in first} == {"built-in"}


def test_weak_meta_model_writes_a_quarter_and_patterns_fill_what_was_refused():
    mixed = MixedProposer(MetaModelProposer(lambda _messages, _temperature: ""), PatternProposer())
    assert [i.source for i in mixed.propose(request())] == ["meta-model", "built-in", "built-in", "built-in"]
    assert [i.source for i in mixed.propose(request(attempt=1, count=1))] == ["built-in"]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ('"Do it."', "Do it."),
        ("```text\nDo it.\n```", "Do it."),
        ("Improved instruction: Do it.", "Do it."),
        ("Do\x00 it.\ud800", "Do it.?"),
    ],
)
def test_wrapping_is_stripped(raw, clean):
    assert tidy(raw) == clean
