"""Requests for one enum value: recognized, asked for as a bare value, wrapped in the form asked for."""

import copy
import enum
import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from mipro_walk.local_model.enum_answers import (
    EnumQuestion,
    as_bare_question,
    bare_history,
    find_question,
    grammar,
    wrap,
)

LABELS = ["card_arrival", "age_limit"]
ENUM = {"type": "string", "enum": LABELS}
OBJECT = {"type": "object", "properties": {"intent": ENUM}, "required": ["intent"]}
USER = {"role": "user", "content": "Where is my card?"}


def tool(name: str = "classify", parameters: Any = OBJECT, **extra: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **extra}}


def request(**keys: Any) -> dict[str, Any]:
    return {"messages": [USER], "max_tokens": 4, **keys}


def schema_format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


class Intent(enum.StrEnum):
    CARD_ARRIVAL = "card_arrival"
    AGE_LIMIT = "age_limit"


class WithEnumClass(BaseModel):
    intent: Intent


class WithLiteral(BaseModel):
    intent: Literal["card_arrival", "age_limit"]


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "classify"}}], ids=["required", "named"]
)
def test_a_forced_tool_with_one_enum_is_an_enum_question(choice: Any) -> None:
    question = find_question(request(tools=[tool()], tool_choice=choice))
    assert question == EnumQuestion(tuple(LABELS), "intent", "classify")


def test_the_named_tool_is_found_among_others() -> None:
    named = {"type": "function", "function": {"name": "classify"}}
    question = find_question(request(tools=[tool("other"), tool()], tool_choice=named))
    assert question is not None
    assert question.tool_name == "classify"


def test_a_single_strict_tool_counts_as_forced() -> None:
    assert find_question(request(tools=[tool(strict=True)])) is not None


@pytest.mark.parametrize(
    "schema", [OBJECT, WithEnumClass.model_json_schema(), WithLiteral.model_json_schema()], ids=str
)
def test_a_schema_with_one_enum_property_is_an_enum_question(schema: Any) -> None:
    question = find_question(request(response_format=schema_format(schema)))
    assert question == EnumQuestion(tuple(LABELS), "intent", None)


def test_a_bare_enum_schema_is_an_enum_question() -> None:
    assert find_question(request(response_format=schema_format(ENUM))) == EnumQuestion(tuple(LABELS), None, None)


def test_repeated_values_are_allowed_once() -> None:
    question = find_question(request(response_format=schema_format({"enum": ["a", "b", "a"]})))
    assert question is not None
    assert question.values == ("a", "b")


TWO_PROPERTIES = {
    "type": "object",
    "properties": {"intent": ENUM, "why": {"type": "string"}},
    "required": ["intent", "why"],
}


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"tools": [tool()]},
        {"tools": [tool()], "tool_choice": "auto"},
        {"tools": [tool(strict=True)], "tool_choice": "none"},
        {"tools": [tool(), tool("other")], "tool_choice": "required"},
        {"tools": [tool(parameters=None)], "tool_choice": "required"},
        {"tools": [tool(parameters=TWO_PROPERTIES)], "tool_choice": "required"},
        {"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "unknown"}}},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": schema_format(TWO_PROPERTIES)},
        {"response_format": schema_format({**OBJECT, "required": []})},
        {"response_format": schema_format({**OBJECT, "type": "array"})},
        {"response_format": schema_format({"enum": [1, 2]})},
        {"response_format": schema_format({"enum": ["a", None]})},
        {"response_format": schema_format({"enum": ["a", ""]})},
        {"response_format": schema_format({"enum": ["a\0b"]})},
        {"response_format": schema_format({"enum": []})},
        {"response_format": schema_format({"$ref": "#/$defs/Missing"})},
        {"response_format": schema_format({"$ref": "#"})},
        {"response_format": schema_format(ENUM), "grammar": 'root ::= "a"'},
    ],
)
def test_everything_else_passes_through(keys: dict[str, Any]) -> None:
    assert find_question(request(**keys)) is None


def test_the_bare_question_has_a_grammar_instead_of_form_and_stop() -> None:
    asked = request(tools=[tool()], tool_choice="required", stop=["_"], temperature=0, seed=3)
    question = find_question(asked)
    assert question is not None
    assert as_bare_question(asked, question) == {
        "messages": [USER],
        "temperature": 0,
        "seed": 3,
        "grammar": 'root ::= "card_arrival" | "age_limit"',
        "max_tokens": len("card_arrival") + 1,
    }


def test_a_larger_token_limit_is_kept() -> None:
    question = EnumQuestion(("é",), None, None)
    assert as_bare_question(request(max_tokens=50), question)["max_tokens"] == 50
    assert as_bare_question(request(max_tokens=1), question)["max_tokens"] == 3  # two bytes and the end


def test_the_request_itself_is_not_changed() -> None:
    turn = {"role": "assistant", "content": '{"intent": "age_limit"}'}
    asked = request(messages=[USER, turn, USER], tools=[tool()], tool_choice="required")
    before = copy.deepcopy(asked)
    question = find_question(asked)
    assert question is not None
    as_bare_question(asked, question)
    assert asked == before


def test_grammar_escapes_what_would_end_or_bend_a_literal() -> None:
    assert grammar(['a"b', "a\\nb", "a\nb", "\x01", "é😀"]) == (r'root ::= "a\"b" | "a\\nb" | "a\nb" | "\x01" | "é😀"')


def test_json_demonstrations_become_bare_values() -> None:
    history = [USER, {"role": "assistant", "content": ' {"intent": "age_limit"} '}, USER]
    assert bare_history(history, EnumQuestion(tuple(LABELS), "intent", None)) == [
        USER,
        {"role": "assistant", "content": "age_limit"},
        USER,
    ]


def test_bare_enum_demonstrations_lose_their_quotes() -> None:
    history = [{"role": "assistant", "content": '"age_limit"'}]
    assert bare_history(history, EnumQuestion(("age_limit",), None, None))[0]["content"] == "age_limit"


def tool_turn(name: str = "classify", arguments: str = '{"intent": "age_limit"}') -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def test_tool_call_demonstrations_become_bare_values_without_their_results() -> None:
    question = EnumQuestion(tuple(LABELS), "intent", "classify")
    history = [USER, tool_turn(), {"role": "tool", "tool_call_id": "c1", "content": "ok"}, USER]
    assert bare_history(history, question) == [USER, {"role": "assistant", "content": "age_limit"}, USER]


@pytest.mark.parametrize(
    "turn",
    [
        tool_turn(name="other"),
        tool_turn(arguments='{"intent": "a", "why": "b"}'),
        tool_turn(arguments='{"intent": 3}'),
        tool_turn(arguments="not json"),
        {**tool_turn(), "tool_calls": tool_turn()["tool_calls"] * 2},
        {"role": "assistant", "content": "age_limit"},
        {"role": "assistant", "content": '["age_limit"]'},
        {"role": "assistant", "content": None},
        {"role": "user", "content": '{"intent": "age_limit"}'},
    ],
)
def test_turns_of_another_form_stay_as_they_are(turn: dict[str, Any]) -> None:
    result = {"role": "tool", "tool_call_id": "c1", "content": "ok"}
    assert bare_history([turn, result], EnumQuestion(tuple(LABELS), "intent", "classify")) == [turn, result]


def test_the_answer_is_wrapped_as_a_tool_call() -> None:
    answer = wrap(EnumQuestion(("é",), "intent", "classify"), "é", "call_1")
    assert answer is not None
    assert answer.finish_reason == "tool_calls"
    assert answer.message["content"] is None
    (call,) = answer.message["tool_calls"]
    assert (call["id"], call["type"], call["function"]["name"]) == ("call_1", "function", "classify")
    assert json.loads(call["function"]["arguments"]) == {"intent": "é"}


@pytest.mark.parametrize(("name", "content"), [("intent", '{"intent": "a"}'), (None, '"a"')])
def test_the_answer_is_wrapped_as_json_text(name: str | None, content: str) -> None:
    answer = wrap(EnumQuestion(("a",), name, None), "a", "unused")
    assert answer is not None
    assert (answer.message["content"], answer.finish_reason) == (content, "stop")


def test_a_text_that_is_no_allowed_value_is_never_wrapped() -> None:
    assert wrap(EnumQuestion(("card_arrival",), "intent", None), "card_arr", "unused") is None
