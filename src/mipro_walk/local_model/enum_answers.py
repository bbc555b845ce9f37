r"""Requests that ask for one value of an enum, answered by a small model.

A small model does not obey a forced tool call and spends most of its tokens on JSON punctuation. Where
a request can only be answered by one value of a string enum, it is asked for that bare value under a
grammar, and the value is put into the form that was asked for::

    tools=[classify(intent: enum)], tool_choice="required"   ┐
    response_format=json_schema {intent: enum}               ├─►  root ::= "card_arrival" | "age_limit"
    response_format=json_schema enum                         ┘

    "card_arrival"  ─►  tool_calls[classify({"intent": "card_arrival"})]  or  {"intent": "card_arrival"}

Demonstrations in the history are rewritten the same way, so that they show the model what it is
asked for. Everything here is a pure function on plain request bodies; inputs are not changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]

_REPLACED_KEYS = ("response_format", "tools", "tool_choice", "parallel_tool_calls", "stop")
_GRAMMAR_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


@dataclass(frozen=True, slots=True)
class EnumQuestion:
    """A request that one value of ``values`` answers.

    Attributes:
        values: The allowed values, in the order of the schema, without repetitions; never empty.
        property_name: The one property of the object that was asked for; None for a bare enum.
        tool_name: The forced tool; None when JSON text was asked for.
    """

    values: tuple[str, ...]
    property_name: str | None
    tool_name: str | None


@dataclass(frozen=True, slots=True)
class EnumAnswer:
    """A value in the form that was asked for: the assistant message and its finish reason."""

    message: Body
    finish_reason: str


def find_question(request: Mapping[str, Any]) -> EnumQuestion | None:
    """Return the enum question this chat request asks, or None if it must be answered as it stands."""
    if request.get("grammar"):
        return None
    if request.get("tools"):
        return _tool_question(request)
    return _schema_question(request.get("response_format"))


def as_bare_question(request: Mapping[str, Any], question: EnumQuestion) -> Body:
    """Return the request that asks for the bare value.

    ``max_tokens`` is raised to what the longest value can need; stop texts are dropped, since the
    grammar ends the answer and a stop text could only cut a value in two.
    """
    bare = {key: value for key, value in request.items() if key not in _REPLACED_KEYS}
    bare["messages"] = bare_history(request["messages"], question)
    bare["grammar"] = grammar(question.values)
    bare["max_tokens"] = max(request.get("max_tokens") or 0, most_tokens(question.values))
    return bare


def wrap(question: EnumQuestion, text: str, call_id: str) -> EnumAnswer | None:
    """Put the bare value into the form that was asked for; None if ``text`` is no allowed value."""
    if text not in question.values:
        return None
    if question.property_name is None:
        payload = json.dumps(text, ensure_ascii=False)
    else:
        payload = json.dumps({question.property_name: text}, ensure_ascii=False)
    if question.tool_name is None:
        return EnumAnswer({"role": "assistant", "content": payload}, "stop")
    function = {"name": question.tool_name, "arguments": payload}
    call = {"id": call_id, "type": "function", "function": function}
    return EnumAnswer({"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls")


def most_tokens(values: Sequence[str]) -> int:
    """Return how many tokens the longest value can need."""
    # A token is at least one byte, and one more ends the answer: no tokenizer needed for a bound.
    return max(len(value.encode()) for value in values) + 1


def grammar(values: Sequence[str]) -> str:
    """Return a GBNF grammar that allows exactly one of ``values`` and nothing else."""
    return "root ::= " + " | ".join(f'"{_escape(value)}"' for value in values)


def bare_history(messages: Sequence[Body], question: EnumQuestion) -> list[Body]:
    """Return the history with earlier answers of the same form as bare values.

    An assistant turn with the one tool call loses its tool results too: they only acknowledge it.
    """
    history: list[Body] = []
    answered: set[str] = set()
    for message in messages:
        if message["role"] == "tool" and message.get("tool_call_id") in answered:
            continue
        value = _bare_value(message, question) if message["role"] == "assistant" else None
        if value is None:
            history.append(message)
            continue
        answered.update(call["id"] for call in message.get("tool_calls") or () if call.get("id"))
        history.append({"role": "assistant", "content": value})
    return history


# Recognizing the question ---------------------------------------------------------------------


def _tool_question(request: Mapping[str, Any]) -> EnumQuestion | None:
    function = _forced_function(request["tools"], request.get("tool_choice"))
    if function is None:
        return None
    found = _single_enum_property(function.get("parameters"))
    if found is None:
        return None
    property_name, values = found
    return EnumQuestion(values, property_name, function["name"])


def _forced_function(tools: Sequence[Body], choice: object) -> Body | None:
    """Return the function that the answer must call, if there is exactly one such."""
    functions: list[Body] = [tool["function"] for tool in tools]
    if isinstance(choice, dict):
        wanted = choice.get("function", {}).get("name")
        functions = [function for function in functions if function["name"] == wanted]
        return functions[0] if len(functions) == 1 else None
    if len(functions) != 1 or choice == "none":
        return None
    forced = choice == "required" or functions[0].get("strict") is True
    return functions[0] if forced else None


def _schema_question(response_format: object) -> EnumQuestion | None:
    if not isinstance(response_format, dict) or response_format.get("type") != "json_schema":
        return None
    schema = response_format.get("json_schema", {}).get("schema")
    if not isinstance(schema, dict):
        return None
    values = _enum_values(schema, schema)
    if values is not None:
        return EnumQuestion(values, None, None)
    found = _single_enum_property(schema)
    return EnumQuestion(found[1], found[0], None) if found else None


def _single_enum_property(schema: object) -> tuple[str, tuple[str, ...]] | None:
    """Return name and values if the schema is an object with one property: a required string enum."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return None
    properties = schema.get("properties")
    if not isinstance(properties, dict) or len(properties) != 1:
        return None
    ((name, value_schema),) = properties.items()
    if schema.get("required") != [name]:
        return None
    values = _enum_values(value_schema, schema)
    return (name, values) if values is not None else None


def _enum_values(schema: object, root: Body) -> tuple[str, ...] | None:
    schema = _follow_reference(schema, root)
    if not isinstance(schema, dict) or schema.get("type", "string") != "string":
        return None
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(values, list) or not values:
        return None
    # A grammar cannot say NUL, and an empty value would let the model say nothing at all.
    if not all(isinstance(value, str) and value and "\0" not in value for value in values):
        return None
    return tuple(dict.fromkeys(values))


def _follow_reference(schema: object, root: Body) -> object:
    """Follow one ``$ref`` into the schema's own definitions: the form pydantic writes for an Enum."""
    if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
        return schema
    target: object = root
    for step in schema["$ref"].removeprefix("#/").split("/"):
        target = target.get(step) if isinstance(target, dict) else None
    return target


# Rewriting ------------------------------------------------------------------------------------


def _escape(value: str) -> str:
    return "".join(_escape_character(character) for character in value)


def _escape_character(character: str) -> str:
    if character in _GRAMMAR_ESCAPES:
        return _GRAMMAR_ESCAPES[character]
    return f"\\x{ord(character):02X}" if ord(character) < 0x20 else character


def _bare_value(message: Body, question: EnumQuestion) -> str | None:
    calls = message.get("tool_calls")
    if not calls:
        content = message.get("content")
        return _value_of_json(content, question) if isinstance(content, str) else None
    if len(calls) != 1 or (question.tool_name and calls[0]["function"]["name"] != question.tool_name):
        return None
    return _value_of_json(calls[0]["function"]["arguments"], question)


def _value_of_json(text: str, question: EnumQuestion) -> str | None:
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    if question.property_name is not None:
        if not isinstance(parsed, dict) or list(parsed) != [question.property_name]:
            return None
        parsed = parsed[question.property_name]
    return parsed if isinstance(parsed, str) else None
