"""Instructions that copy from rows they are scored on, and those that do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mipro_walk.core.leaks import LeakGuard
from mipro_walk.core.proposer import PATTERNS
from mipro_walk.types import Example, Task

ROW = "We were billed twice for the same dinner last night, please give one of them back"
SHORT = "freeze my stolen card right now"
TASK = Task(
    name="bank",
    description="Sort what customers of a bank write.",
    instruction="Name the intent of the message.",
    train=[Example(0, "how do I change the address on my account", "address")],
    val=[Example(0, ROW, "refund"), Example(1, "how do I change the address on my account today", "address")],
    test=[Example(0, SHORT, "card"), Example(1, "top up", "topup")],
    labels=("address", "refund", "card", "topup"),
)
COPIED = "copies a val or test row"


@pytest.mark.parametrize(
    "text",
    [
        f"An example: {ROW}.",
        f"An example: {ROW.upper()}!!",
        "If somebody says we were billed twice for the same dinner, answer refund.",
        "Messages such as 'freeze my stolen card right away' mean card.",
        "we  were-billed/twice for the SAME dinner",
    ],
)
def test_whole_and_partial_copies_are_refused(text):
    assert LeakGuard(TASK).problem(text) == COPIED


@pytest.mark.parametrize(
    "text",
    [
        "Somebody who asks how do I change the address on my account wants address.",
        "Read the message, think of what the customer wants the bank to do, and answer with the intent only.",
        "Charges that came twice are refunds.",
        "Say topup when somebody wants to top up.",
        *PATTERNS,
    ],
)
def test_train_rows_common_phrases_and_ordinary_instructions_pass(text):
    assert LeakGuard(TASK).problem(text) == ""


def test_starting_instruction_may_repeat_itself_but_is_noticed_when_asked():
    task = replace(TASK, instruction=f"Sort messages like: {ROW}")
    assert LeakGuard(task).problem(task.instruction) == ""
    assert LeakGuard(task, allow_baseline=False).problem(task.instruction) == COPIED
