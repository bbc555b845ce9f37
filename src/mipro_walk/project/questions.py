"""What is asked about one row, and what an answer is read from: the same in process and over HTTP.

The system message holds the instruction, which is what a search changes, and behind it what belongs to the task: what
labels mean, and in text mode the answer's form. Tool calls and JSON schemas carry the form themselves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mipro_walk.project.scorers.base import AnswerForm, Json, UnreadableError

TOOL_NAME = "give_answer"
Message = dict[str, str]


def question_messages(instruction: str, form: AnswerForm, query: str, mode: str) -> list[Message]:
    """Return the messages that ask about one row."""
    parts = [instruction, form.always, form.note if mode == "text" else ""]
    return [
        {"role": "system", "content": "\n\n".join(part for part in parts if part)},
        {"role": "user", "content": query},
    ]


def answer_fields(form: AnswerForm, mode: str) -> Json:
    """Return the fields of a chat request that ask for the answer's form in an output mode."""
    if form.schema is None or mode == "text":
        return {}
    if mode == "tool_calls":
        function = {"name": TOOL_NAME, "description": "Give the answer.", "parameters": form.schema}
        return {
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": TOOL_NAME}},
        }
    json_schema = {"name": TOOL_NAME, "strict": is_strict(form.schema), "schema": form.schema}
    return {"response_format": {"type": "json_schema", "json_schema": json_schema}}


def is_strict(schema: Any) -> bool:
    """Whether every object of a schema names all its properties as required and allows no others.

    Endpoints refuse a schema as *strict* that does not.
    """
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, dict):
        return True
    if isinstance(properties := schema.get("properties"), dict):
        required = schema.get("required")
        if not isinstance(required, list) or set(required) != set(properties):
            return False
        if schema.get("additionalProperties") is not False:
            return False
    return all(map(is_strict, schema.values()))


def answer_text(content: str, calls: Sequence[tuple[str, str]]) -> str:
    """Return what is to be read: the arguments of our tool's call, else the message's text.

    ``calls`` are name and arguments of each tool call. Several calls of ours must say the same.

    Raises:
        UnreadableError: they do not.
    """
    ours = [arguments for name, arguments in calls if name == TOOL_NAME]
    if not ours:
        return content
    if len({_comparable(arguments) for arguments in ours}) > 1:
        raise UnreadableError("ambiguous")
    return ours[0]


def _comparable(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments
