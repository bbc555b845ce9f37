"""How a candidate becomes part of a chat request: the instruction in the system message, demonstrations as turns.

Demonstrations are chat turns of their own, never text inside the system message, and show the answer in the form
in which the request asks for it. Only what the candidate holds differs between two requests about one row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mipro_walk.types import Candidate, Message

INSTRUCTION_ROLES = ("system", "developer")
TOOL_RESULT = "ok"


def apply_candidate(
    body: Mapping[str, Any], candidate: Candidate, baseline_instruction: str, query: str | None = None
) -> dict[str, Any]:
    """Return a chat request like ``body`` that asks with the candidate's prompt. ``body`` is not changed.

    The first system (or developer) message keeps all its text but the baseline instruction, which is replaced; if it
    does not hold that, the whole text is replaced; without such a message one is put in front. Demonstrations
    follow the app's own, right before its question. What an app has rendered from the candidate already stays.

    Args:
        body: an OpenAI chat request whose ``messages`` is a list of objects.
        candidate: the instruction and demonstrations to ask with.
        baseline_instruction: the text that the app's own system message is expected to hold.
        query: the row's text, if known. Where the app's question wraps it in more text, so do the demonstrations;
            otherwise they show their bare query.
    """
    if _carries(body["messages"], candidate):
        return dict(body)
    messages = _with_instruction(body["messages"], candidate.instruction, baseline_instruction)
    position = _question_position(messages, query)
    question = messages[position].get("content") if position < len(messages) else None
    turns: list[Message] = []
    for index, demo in enumerate(candidate.demos):
        turns.append({"role": "user", "content": _like_question(question, query, demo.query)})
        turns.extend(_answer_turns(body, demo.label, f"demo_{index}"))
    return {**body, "messages": [*messages[:position], *turns, *messages[position:]]}


def candidate_messages(candidate: Candidate, query: str = "{query}") -> list[Message]:
    """Return the prompt as plain text turns: system, a user and an assistant turn per demonstration, the question."""
    messages: list[Message] = [{"role": "system", "content": candidate.instruction}]
    for demo in candidate.demos:
        messages.append({"role": "user", "content": demo.query})
        messages.append({"role": "assistant", "content": demo.label})
    return [*messages, {"role": "user", "content": query}]


def content_text(content: object) -> str:
    """Return the text of a message's content: a string, or a list with text parts; ``""`` for anything else."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in _text_parts(content))


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How a request asks for its answer, and where in it the label stands.

    Attributes:
        kind: ``tool`` (a forced call), ``json`` (by schema) or ``text``.
        key: the property that holds the label; ``None`` for a text, or if it cannot be told.
        labels: the answers that the form allows; empty if it allows any.
    """

    kind: Literal["tool", "json", "text"]
    key: str | None = None
    labels: tuple[str, ...] = ()


def answer_form_of(body: Mapping[str, Any]) -> AnswerForm:
    """Return the form in which a chat request asks for its answer."""
    function = _forced_function(body)
    schema = _answer_schema(body) if function is None else function.get("parameters")
    if function is None and schema is None:
        return AnswerForm("text")
    properties = _mapping(_mapping(schema).get("properties"))
    names = list(properties) if len(properties) == 1 else [name for name in properties if _enum(properties[name])]
    key = names[0] if len(names) == 1 else None
    labels = () if key is None else tuple(str(value) for value in _enum(properties[key]))
    return AnswerForm("json" if function is None else "tool", key, labels)


def _carries(messages: Sequence[Message], candidate: Candidate) -> bool:
    """Whether instruction and demonstrations are there already: an app that renders a template itself."""
    system = next((content_text(m.get("content")) for m in messages if m.get("role") in INSTRUCTION_ROLES), "")
    asked = {content_text(m.get("content")) for m in messages if m.get("role") == "user"}
    return bool(candidate.demos) and candidate.instruction in system and asked >= {d.query for d in candidate.demos}


def _with_instruction(messages: Sequence[Message], instruction: str, baseline: str) -> list[Message]:
    position = next((i for i, message in enumerate(messages) if message.get("role") in INSTRUCTION_ROLES), None)
    if position is None:
        return [{"role": "system", "content": instruction}, *messages]
    changed = {**messages[position], "content": _replaced(messages[position].get("content"), baseline, instruction)}
    return [*messages[:position], changed, *messages[position + 1 :]]


def _replaced(content: object, old: str, new: str) -> object:
    """Return ``content`` with the first ``old`` in it replaced, or ``new`` alone if it does not occur."""
    old = old.strip()
    text = content_text(content)
    if new in text and (old in new or old not in text):
        return content
    if old and isinstance(content, str) and old in content:
        return content.replace(old, new, 1)
    if old and isinstance(content, list):
        for position, part in enumerate(content):
            if part in _text_parts(content) and old in part["text"]:
                changed = {**part, "text": part["text"].replace(old, new, 1)}
                return [*content[:position], changed, *content[position + 1 :]]
    return new


def _text_parts(content: object) -> list[dict[str, Any]]:
    parts = content if isinstance(content, list) else []
    return [part for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]


def _question_position(messages: Sequence[Message], query: str | None) -> int:
    """Return where the question stands: the last user message (that holds the query, if it is known)."""
    users = [i for i, message in enumerate(messages) if message.get("role") == "user"]
    if query:
        users = [i for i in users if query in content_text(messages[i].get("content"))] or users
    return users[-1] if users else len(messages)


def _like_question(question: object, query: str | None, shown: str) -> str:
    """Return ``shown`` in the words that the app puts around its query, if they can be told apart from it."""
    text = content_text(question)
    return text.replace(query, shown) if query and text.count(query) == 1 else shown


def _answer_turns(body: Mapping[str, Any], label: str, call_id: str) -> Iterator[Message]:
    """Yield the turns in which a model gives ``label`` to a request of this form."""
    function = _forced_function(body)
    if function is not None and (arguments := _structured(function.get("parameters"), label)):
        call = {"name": function.get("name"), "arguments": arguments}
        yield {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call_id, "type": "function", "function": call}],
        }
        yield {"role": "tool", "tool_call_id": call_id, "content": TOOL_RESULT}
    elif function is None and (content := _structured(_answer_schema(body), label)):
        yield {"role": "assistant", "content": content}
    else:
        yield {"role": "assistant", "content": label}


def _forced_function(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the one function that the request forces the model to call, or ``None``."""
    listed = body.get("tools")
    tools = [_mapping(tool).get("function") for tool in listed] if isinstance(listed, list) else []
    functions = [tool for tool in tools if isinstance(tool, dict)]
    choice = body.get("tool_choice")
    if choice == "required":
        return functions[0] if len(functions) == 1 else None
    wanted = _mapping(_mapping(choice).get("function")).get("name")
    return next((function for function in functions if wanted and function.get("name") == wanted), None)


def _answer_schema(body: Mapping[str, Any]) -> object:
    answer_format = _mapping(body.get("response_format"))
    if answer_format.get("type") != "json_schema":
        return None
    return _mapping(answer_format.get("json_schema")).get("schema")


def _structured(schema: object, label: str) -> str | None:
    """Return the label as JSON text that follows the schema, or ``None`` if it is not clear how.

    A label that is an object with the schema's properties is the answer itself; any other one is the value of the
    one property that it fits, as JSON where that property is no text.
    """
    properties = _mapping(_mapping(schema).get("properties"))
    if label.startswith("{"):
        found = _parsed(label)
        if isinstance(found, dict) and found and found.keys() <= properties.keys():
            return label
    name = _property_for(schema, label)
    if name is None:
        return None
    is_text = _mapping(properties[name]).get("type", "string") == "string"
    value = label if is_text else _parsed(label)
    return json.dumps({name: label if value is None else value}, ensure_ascii=False)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _property_for(schema: object, label: str) -> str | None:
    """Return the property that holds the label: the only one, or the only one whose enum lists it."""
    properties = _mapping(_mapping(schema).get("properties"))
    names = list(properties)
    if len(names) > 1:
        names = [name for name in names if label in _enum(properties[name])]
    return names[0] if len(names) == 1 else None


def _enum(schema: object) -> list[Any]:
    values = _mapping(schema).get("enum")
    return values if isinstance(values, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
