"""The messages of one rollout: the app's own question, or a template that came with the request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from task_apps.serving.contract import OutputMode
from task_apps.serving.schemas import PolicyConfig
from task_apps.serving.templates import Message, fill, given_messages

from .scoring import TOOL_NAME

BASELINE_INSTRUCTION: Final = (
    "You classify messages that customers send to an online bank. Read the message and decide which one of "
    "the bank's intents it expresses. Answer with the name of exactly one intent, written as it is in the list "
    "of intents, and with nothing else."
)
INTENT_LIST: Final = "Intents: {labels}"


def own_templates(mode: OutputMode) -> list[dict[str, str]]:
    """Return the app's own messages as patterns.

    Only text mode lists the intents in the system message: in the other modes the tool or schema carries them.
    """
    system = f"{BASELINE_INSTRUCTION}\n\n{INTENT_LIST}" if mode == "text" else BASELINE_INSTRUCTION
    return [{"role": "system", "pattern": system}, {"role": "user", "pattern": "{query}"}]


def build_messages(config: PolicyConfig, mode: OutputMode, query: str, labels: Sequence[str]) -> list[Message]:
    """Return the messages to send: those of the request before the app's own.

    Raises:
        TemplateError: if the prompt in the request is empty or leaves the query out.
    """
    return given_messages(config, query, labels) or own_messages(mode, query, labels)


def own_messages(mode: OutputMode, query: str, labels: Sequence[str]) -> list[Message]:
    """Return the app's own question about one query."""
    values = {"query": query, "labels": ", ".join(labels)}
    return [{"role": part["role"], "content": fill(part["pattern"], values)} for part in own_templates(mode)]


def answer_form(mode: OutputMode, labels: Sequence[str]) -> dict[str, Any]:
    """Return the request fields that ask for an answer in this mode's form."""
    schema = {
        "type": "object",
        "properties": {"intent": {"type": "string", "enum": list(labels)}},
        "required": ["intent"],
        "additionalProperties": False,
    }
    if mode == "tool_calls":
        function = {"name": TOOL_NAME, "description": "Give the intent of the message.", "parameters": schema}
        return {
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": TOOL_NAME}},
        }
    if mode == "structured":
        json_schema = {"name": TOOL_NAME, "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": json_schema}}
    return {}
