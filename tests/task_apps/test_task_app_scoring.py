"""Reading answers: the rule of `scoring`, case by case."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from task_apps.banking77.scoring import parse_reply, score_reply
from task_apps.serving.contract import OUTPUT_MODES, ModelReply, OutputMode, ToolCall

LABELS = (
    "card_arrival",
    "card_payment_wrong_exchange_rate",
    "exchange_rate",
    "Refund_not_showing_up",
    "reverted_card_payment?",
)


def read(text: str, mode: OutputMode = "text") -> str | None:
    parsed = parse_reply(ModelReply(text), LABELS, mode)
    assert (parsed.label is None) != (parsed.reason is None)
    return parsed.label or parsed.reason


@pytest.mark.parametrize("mode", OUTPUT_MODES)
@pytest.mark.parametrize(
    "text",
    [
        "card_arrival",
        " card_arrival\n",
        '"card_arrival"',
        "**card_arrival**",
        "`card_arrival`.",
        "Card Arrival",
        "CARD-ARRIVAL",
        "card\u2011arrival",
        "ｃａｒｄ＿ａｒｒｉｖａｌ",
        '{"intent": "card_arrival"}',
        '```json\n{"intent": "Card arrival"}\n```',
    ],
)
def test_a_label_is_recognised_through_case_quotes_and_separators(text: str, mode: OutputMode) -> None:
    assert read(text, mode) == "card_arrival"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no_answer"),
        (" \n\t", "no_answer"),
        ("...", "no_answer"),
        ("The intent is card_arrival.", "card_arrival"),
        ("Intent: card arrival", "card_arrival"),
        ("card_arrival, definitely card_arrival", "card_arrival"),
        ("It is card_payment_wrong_exchange_rate!", "card_payment_wrong_exchange_rate"),
        ("card_arrival or exchange_rate", "ambiguous"),
        ("I cannot help with that.", "unknown_label"),
        ("card_arrivals", "unknown_label"),
        ("discard_arrival", "unknown_label"),
        ("саrd_arrival", "unknown_label"),
        ("well " * 70 + "card_arrival", "unknown_label"),
        ("Refund not showing up", "Refund_not_showing_up"),
        ("reverted_card_payment", "reverted_card_payment?"),
        ('{"intent": "card_arrival"', "not_json"),
        ('{"intent": null}', "no_answer"),
        ('{"answer": "card_arrival"}', "no_answer"),
        ('{"intent": 7}', "unknown_label"),
        ('{"intent": ["card_arrival"]}', "unknown_label"),
        ("\x00card_arrival\x1b[31m", "card_arrival"),
    ],
)
def test_text_answers(text: str, expected: str) -> None:
    assert read(text) == expected


@pytest.mark.parametrize("mode", ["tool_calls", "structured"])
def test_prose_is_no_answer_where_json_was_asked_for(mode: OutputMode) -> None:
    assert read("The intent is card_arrival.", mode) == "not_json"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (['{"intent": "card_arrival"}'], "card_arrival"),
        (['{"intent": "card_arrival"}', '{"intent": "Card Arrival"}'], "card_arrival"),
        (['{"intent": "card_arrival"}', '{"intent": "exchange_rate"}'], "ambiguous"),
        (['{"intent": "nonsense"}'], "unknown_label"),
        (["garbage"], "not_json"),
        (["[1]"], "not_json"),
        (["[" * 200_000], "not_json"),
        (['{"intent": ' + "9" * 5_000 + "}"], "not_json"),
        ([""], "no_answer"),
        (["{}"], "no_answer"),
        (['{"intent": "\\ud800"}'], "no_answer"),
        (['{"intent": "card_arrival\\u0000"}'], "card_arrival"),
    ],
)
def test_tool_call_answers(arguments: list[str], expected: str) -> None:
    calls = tuple(ToolCall("classify_intent", text) for text in arguments)
    parsed = parse_reply(ModelReply("exchange_rate", calls), LABELS, "tool_calls")
    assert (parsed.label or parsed.reason) == expected


def test_calls_of_other_tools_are_ignored_and_the_text_is_read_instead() -> None:
    reply = ModelReply("card_arrival", (ToolCall("search", '{"intent": "exchange_rate"}'),))
    assert parse_reply(reply, LABELS, "tool_calls").label == "card_arrival"


def test_labels_that_differ_only_in_case_need_the_exact_spelling() -> None:
    labels = ("Card", "card")
    assert parse_reply(ModelReply("Card"), labels, "text").label == "Card"
    assert parse_reply(ModelReply("CARD"), labels, "text").reason == "ambiguous"


def test_score_is_one_without_reason_or_zero_with_one() -> None:
    right = score_reply(ModelReply("card_arrival"), "card_arrival", LABELS, "text")
    wrong = score_reply(ModelReply("exchange_rate"), "card_arrival", LABELS, "text")
    empty = score_reply(ModelReply(""), "card_arrival", LABELS, "text")
    assert (right.reward, right.predicted, right.reason) == (1.0, "card_arrival", None)
    assert (wrong.reward, wrong.predicted, wrong.reason) == (0.0, "exchange_rate", "wrong")
    assert (empty.reward, empty.predicted, empty.reason) == (0.0, None, "no_answer")


pieces = st.one_of(st.text(), st.sampled_from([*LABELS, '{"intent": "', '"}', "```", "\ud800", "\x00", "\x1b["]))


@settings(deadline=None, max_examples=400)
@given(st.lists(pieces, max_size=6).map("".join), st.sampled_from(OUTPUT_MODES), st.booleans())
def test_no_answer_whatever_crashes_the_scoring(text: str, mode: OutputMode, as_call: bool) -> None:
    reply = ModelReply("", (ToolCall("classify_intent", text),)) if as_call else ModelReply(text)
    score = score_reply(reply, "card_arrival", LABELS, mode)
    assert (score.reason is None) == (score.reward == 1.0)
    assert score.predicted is None or score.predicted in LABELS


around = st.text(" \t\n\"'`*.,:;!()[]<>_-\u2013", max_size=6)


@settings(deadline=None, max_examples=200)
@given(around, around, st.sampled_from(LABELS), st.sampled_from(OUTPUT_MODES))
def test_quotes_and_punctuation_around_a_label_never_hide_it(
    before: str, after: str, label: str, mode: OutputMode
) -> None:
    assert read(before + label + after, mode) == label
