"""How a candidate is put into a chat request. Pure functions; what they build is what gets measured and exported."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from mipro_walk.types import Candidate, Demonstration, Message

SYSTEM_ROLES = ("system", "developer")


def candidate_messages(candidate: Candidate, query: str = "{query}") -> list[Message]:
    """Return the candidate as plain chat messages: system, demonstrations as turns, the query last."""
    messages: list[Message] = [{"role": "system", "content": candidate.instruction}]
    for demo in candidate.demos:
        messages.append({"role": "user", "content": demo.query})
        messages.append({"role": "assistant", "content": demo.label})
    return [*messages, {"role": "user", "content": query}]


def apply_candidate(body: Mapping[str, Any], candidate: Candidate, baseline_instruction: str) -> dict[str, Any]:
    """Return ``body``, an OpenAI chat request, with the candidate's prompt in it. ``body`` is left alone.

    Where the baseline instruction occurs in the first system message only that text is replaced, so fixed parts such
    as a list of labels stay; else the whole message is. Demonstrations go right before the last user message, each
    answer in the form that the request asks for. A request that carries the candidate already is returned as it is.
    """
    changed = copy.deepcopy(dict(body))
    messages = [dict(message) for message in changed.get("messages") or []]
    if not _carries(messages, candidate):
        messages = _with_instruction(messages, candidate.instruction, baseline_instruction)
        messages = _with_demos(messages, candidate.demos, changed)
    changed["messages"] = messages
    return changed


def _carries(messages: list[Message], candidate: Candidate) -> bool:
    """Whether instruction and demonstrations are there already (an app that renders a template itself)."""
    system = next((m for m in messages if m.get("role") in SYSTEM_ROLES), None)
    if system is None or candidate.instruction not in str(system.get("content")):
        return False
    users = [m.get("content") for m in messages if m.get("role") == "user"]
    return bool(candidate.demos) and all(demo.query in users for demo in candidate.demos)


def _with_instruction(messages: list[Message], instruction: str, baseline: str) -> list[Message]:
    for index, message in enumerate(messages):
        if message.get("role") in SYSTEM_ROLES:
            content = message.get("content")
            kept = isinstance(content, str) and bool(baseline) and baseline in content
            text = str(content).replace(baseline, instruction, 1) if kept else instruction
            return [*messages[:index], {**message, "content": text}, *messages[index + 1 :]]
    return [{"role": "system", "content": instruction}, *messages]


def _with_demos(messages: list[Message], demos: tuple[Demonstration, ...], body: Mapping[str, Any]) -> list[Message]:
    last_user = max((i for i, m in enumerate(messages) if m.get("role") == "user"), default=len(messages))
    turns = [turn for number, demo in enumerate(demos) for turn in _demo_turns(demo, number, body)]
    return [*messages[:last_user], *turns, *messages[last_user:]]


def _demo_turns(demo: Demonstration, number: int, body: Mapping[str, Any]) -> list[Message]:
    """Return the user turn and the answer in the form of a forced tool call, a JSON object or plain text."""
    question = {"role": "user", "content": demo.query}
    if (tool := _forced_tool(body)) and (name := _answer_property(tool.get("parameters"), demo.label)):
        call_id = f"demo_{number}"
        arguments = json.dumps({name: demo.label}, ensure_ascii=False)
        call = {"id": call_id, "type": "function", "function": {"name": tool["name"], "arguments": arguments}}
        return [
            question,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call_id, "content": "ok"},
        ]
    if name := _answer_property(_json_schema(body), demo.label):
        return [question, {"role": "assistant", "content": json.dumps({name: demo.label}, ensure_ascii=False)}]
    return [question, {"role": "assistant", "content": demo.label}]


def _forced_tool(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the function that the answer must call, if there is exactly one that it can be."""
    functions = [
        t["function"] for t in body.get("tools") or [] if isinstance(t, dict) and isinstance(t.get("function"), dict)
    ]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        wanted = (choice.get("function") or {}).get("name")
        functions = [f for f in functions if f.get("name") == wanted]
    elif choice != "required":
        return None
    return functions[0] if len(functions) == 1 else None


def _json_schema(body: Mapping[str, Any]) -> Any:
    response_format = body.get("response_format")
    if not isinstance(response_format, dict) or response_format.get("type") != "json_schema":
        return None
    return (response_format.get("json_schema") or {}).get("schema")


def _answer_property(schema: Any, label: str) -> str | None:
    """Return the property that holds the answer: the only one, or the only enum that knows the label."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return None
    if len(properties) == 1:
        return str(next(iter(properties)))
    fitting = [name for name, p in properties.items() if isinstance(p, dict) and label in (p.get("enum") or [])]
    return str(fitting[0]) if len(fitting) == 1 else None
