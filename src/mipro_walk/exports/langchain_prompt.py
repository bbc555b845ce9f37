"""``langchain``: a ``ChatPromptTemplate`` in the form that ``langchain_core.load.loads`` reads.

Instruction and demonstrations are finished messages, so no brace in them is read as a variable; only the question is a
template. What a prompt template cannot hold (model, parameters, tools) lies in its ``metadata``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mipro_walk.errors import ConfigError
from mipro_walk.exports.source import ExportSource
from mipro_walk.request_template import RequestTemplate

MESSAGES = {"system": "SystemMessage", "developer": "SystemMessage", "user": "HumanMessage"}
METADATA_KEY = "request"


def langchain_prompt(source: ExportSource) -> str:
    """Return the template as JSON."""
    template = source.request()
    rest = {name: value for name, value in template.body.items() if name != "messages"}
    prompt = _constructor(
        ("prompts", "chat", "ChatPromptTemplate"),
        input_variables=["query"],
        messages=[_part(message, template) for message in template.body["messages"]],
        metadata={METADATA_KEY: rest},
    )
    return json.dumps(prompt, ensure_ascii=False, indent=2) + "\n"


def _part(message: Mapping[str, Any], template: RequestTemplate) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, str) and template.placeholder in content and message.get("role") == "user":
        return _constructor(("prompts", "chat", "HumanMessagePromptTemplate"), prompt=_question(content, template))
    return _message(message, template)


def _question(content: str, template: RequestTemplate) -> dict[str, Any]:
    before, after = (part.replace("{", "{{").replace("}", "}}") for part in content.split(template.placeholder))
    return _constructor(
        ("prompts", "prompt", "PromptTemplate"),
        input_variables=["query"],
        template=f"{before}{{query}}{after}",
        template_format="f-string",
    )


def _message(message: Mapping[str, Any], template: RequestTemplate) -> dict[str, Any]:
    role, content = message.get("role"), message.get("content")
    if template.placeholder in json.dumps(content, ensure_ascii=False):
        raise ConfigError("The question has several parts, which this format cannot carry.", "Use openai or python.")
    if role in MESSAGES:
        extra = {"additional_kwargs": {"__openai_role__": role}} if role == "developer" else {}
        return _constructor(("schema", "messages", MESSAGES[role]), content=content, **extra)
    if role == "assistant":
        calls = [_tool_call(call) for call in message.get("tool_calls") or []]
        return _constructor(("schema", "messages", "AIMessage"), content=content or "", tool_calls=calls)
    if role == "tool":
        answered = message.get("tool_call_id")
        return _constructor(("schema", "messages", "ToolMessage"), content=content, tool_call_id=answered)
    raise ConfigError(f"LangChain's templates have no messages of the role {role!r}.", "Use openai or python.")


def _tool_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {
        "name": function["name"],
        "args": json.loads(function["arguments"]),
        "id": call["id"],
        "type": "tool_call",
    }


def _constructor(path: tuple[str, ...], **kwargs: Any) -> dict[str, Any]:
    return {"lc": 1, "type": "constructor", "id": ["langchain", *path], "kwargs": kwargs}
