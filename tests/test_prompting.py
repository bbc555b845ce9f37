"""What reaches the model: the candidate's instruction and demonstrations in the form that the request asks for."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro_walk.prompting import apply_candidate, candidate_messages
from mipro_walk.types import Candidate, Demonstration

BASELINE = "Classify the message."
DEMOS = (Demonstration("where is it", "card_arrival"), Demonstration("too old?", "age_limit"))
CANDIDATE = Candidate("Name the intent.", DEMOS)
LABEL_SCHEMA = {"type": "object", "properties": {"intent": {"type": "string", "enum": ["card_arrival", "age_limit"]}}}
TWO_PROPERTIES = {
    "type": "object",
    "properties": {"why": {"type": "string"}, "intent": {"enum": ["card_arrival", "age_limit"]}},
}
NAMED = {"type": "function", "function": {"name": "classify"}}


def request(system: Any = BASELINE, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": system}, {"role": "user", "content": "my query"}], **more}


def tool(parameters: Any, name: str = "classify") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def schema_format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def answers(body: dict[str, Any]) -> list[Any]:
    changed = apply_candidate(body, CANDIDATE, BASELINE)
    return [message for message in changed["messages"] if message["role"] == "assistant"]


def system_of(body: dict[str, Any], candidate: Candidate = CANDIDATE, baseline: str = BASELINE) -> Any:
    return apply_candidate(body, candidate, baseline)["messages"][0]["content"]


def test_only_the_baseline_text_of_the_system_message_is_replaced() -> None:
    assert system_of(request(f"{BASELINE}\n\nIntents: a, b")) == "Name the intent.\n\nIntents: a, b"


def test_a_system_message_without_the_baseline_is_replaced_as_a_whole() -> None:
    assert system_of(request("Something else.")) == "Name the intent."


def test_an_instruction_that_the_app_has_rendered_keeps_its_surroundings() -> None:
    assert system_of(request("Name the intent.\nIntents: a")) == "Name the intent.\nIntents: a"


def test_an_instruction_that_contains_or_is_contained_in_the_baseline_is_put_in_once() -> None:
    longer, shorter = Candidate(f"{BASELINE} Be brief."), Candidate("Classify")
    assert system_of(request(f"{BASELINE} Intents: a"), longer) == f"{BASELINE} Be brief. Intents: a"
    assert system_of(request(f"{BASELINE} Be brief. Intents: a"), longer) == f"{BASELINE} Be brief. Intents: a"
    assert system_of(request(f"{BASELINE} Intents: a"), shorter) == "Classify Intents: a"


def test_the_baseline_candidate_changes_nothing() -> None:
    body = request(f"{BASELINE} Intents: a")
    assert apply_candidate(body, Candidate(BASELINE), BASELINE) == body


def test_a_developer_message_is_a_system_message() -> None:
    body = {"messages": [{"role": "developer", "content": BASELINE}, {"role": "user", "content": "q"}]}
    assert apply_candidate(body, CANDIDATE, BASELINE)["messages"][0] == {
        "role": "developer",
        "content": "Name the intent.",
    }


def test_text_parts_keep_the_parts_around_the_baseline() -> None:
    parts = [{"type": "text", "text": "Hello."}, {"type": "text", "text": f"{BASELINE} Go."}]
    assert system_of(request(parts))[1]["text"] == "Name the intent. Go."


def test_a_system_message_is_put_in_front_where_there_is_none() -> None:
    changed = apply_candidate({"messages": [{"role": "user", "content": "q"}]}, CANDIDATE, BASELINE)
    assert [m["role"] for m in changed["messages"]] == ["system", "user", "assistant", "user", "assistant", "user"]


def test_demonstrations_stand_right_before_the_last_user_message_and_after_the_apps_own() -> None:
    body = request()
    body["messages"][1:1] = [{"role": "user", "content": "own"}, {"role": "assistant", "content": "own answer"}]
    contents = [m["content"] for m in apply_candidate(body, CANDIDATE, BASELINE)["messages"]]
    expected = ["own", "own answer", "where is it", "card_arrival", "too old?", "age_limit", "my query"]
    assert contents[1:] == expected


def test_with_the_query_known_demonstrations_wear_the_apps_wrapping_and_precede_its_question() -> None:
    messages = [
        {"role": "user", "content": "Message: my query\nIntent:"},
        {"role": "assistant", "content": "hm"},
        {"role": "user", "content": "Are you sure?"},
    ]
    changed = apply_candidate({"messages": messages}, CANDIDATE, BASELINE, query="my query")["messages"]
    assert changed[1]["content"] == "Message: where is it\nIntent:"
    assert changed[-3:] == messages


@pytest.mark.parametrize("choice", ["required", NAMED])
def test_a_forced_tool_gets_its_demonstrations_as_calls_with_results(choice: Any) -> None:
    body = request(tools=[tool(LABEL_SCHEMA)], tool_choice=choice)
    messages = apply_candidate(body, CANDIDATE, BASELINE)["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "tool", "user", "assistant", "tool", "user"]
    call = messages[5]["tool_calls"][0]
    assert (call["id"], call["function"]["name"]) == ("demo_1", "classify")
    assert json.loads(call["function"]["arguments"]) == {"intent": "age_limit"}
    assert messages[6] == {"role": "tool", "tool_call_id": "demo_1", "content": "ok"}


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [tool(LABEL_SCHEMA)], "tool_choice": "auto"},
        {"tools": [tool(LABEL_SCHEMA), tool(LABEL_SCHEMA, "other")], "tool_choice": "required"},
        {"tools": [tool({"type": "object"})], "tool_choice": "required"},
        {"tools": "none", "tool_choice": "required"},
        {"tools": [tool(LABEL_SCHEMA)], "tool_choice": {"type": "function", "function": {"name": "missing"}}},
        {"response_format": {"type": "json_object"}},
        {"response_format": schema_format({"properties": {"a": {}, "b": {}}})},
        {"response_format": {"type": "json_schema", "json_schema": None}},
    ],
)
def test_a_form_that_names_no_single_property_gets_bare_labels(more: dict[str, Any]) -> None:
    assert [message["content"] for message in answers(request(**more))] == ["card_arrival", "age_limit"]


@pytest.mark.parametrize("schema", [LABEL_SCHEMA, TWO_PROPERTIES])
def test_a_json_schema_gets_its_demonstrations_as_json(schema: Any) -> None:
    first = answers(request(response_format=schema_format(schema)))[0]
    assert json.loads(first["content"]) == {"intent": "card_arrival"}


def test_a_request_that_holds_the_candidate_already_stays_as_it_is() -> None:
    body = request()
    once = apply_candidate(body, CANDIDATE, BASELINE)
    assert apply_candidate(once, CANDIDATE, BASELINE) == once


@given(
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["system", "user", "assistant", "tool", 3])},
            optional={"content": st.none() | st.text() | st.lists(st.none() | st.dictionaries(st.text(), st.text()))},
        ),
        max_size=5,
    )
)
def test_inputs_are_never_changed_and_nothing_crashes(messages: list[dict[str, Any]]) -> None:
    body = {"messages": messages, "temperature": 0}
    before = copy.deepcopy(body)
    assert apply_candidate(body, CANDIDATE, BASELINE) == apply_candidate(body, CANDIDATE, BASELINE)
    assert body == before


def test_the_plain_form_is_system_pairs_and_query() -> None:
    messages = candidate_messages(CANDIDATE)
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert messages[-1]["content"] == "{query}"
