"""The messages of one rollout: the app's own question, or a template that came with the request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from .schemas import PolicyConfig, TemplateMessage
from .scoring import TOOL_NAME, OutputMode

BASELINE_INSTRUCTION: Final = (
    "You classify messages that customers send to an online bank. Read the message and decide which one of "
    "the bank's intents it expresses. Answer with the name of exactly one intent, written as it is in the list "
    "of intents, and with nothing else."
)
INTENT_LIST: Final = "Intents: {labels}"
_PLACEHOLDER: Final = re.compile(r"\{\{\s*(query|text|labels)\s*\}\}|\{(query|text|labels)\}")

Message = dict[str, str]


class TemplateError(ValueError):
    """A prompt in the request cannot be used."""


def own_templates(mode: OutputMode) -> list[dict[str, str]]:
    """Return the app's own messages as patterns.

    Only text mode lists the intents in the system message: in the other modes the tool or schema carries them.
    """
    system = f"{BASELINE_INSTRUCTION}\n\n{INTENT_LIST}" if mode == "text" else BASELINE_INSTRUCTION
    return [{"role": "system", "pattern": system}, {"role": "user", "pattern": "{query}"}]


def build_messages(config: PolicyConfig, mode: OutputMode, query: str, labels: Sequence[str]) -> list[Message]:
    """Return the messages to send: `prompt_template` before `messages` before the app's own.

    Raises:
        TemplateError: if the prompt in the request is empty or leaves the query out.
    """
    values = {"query": query, "text": query, "labels": ", ".join(labels)}
    if config.prompt_template is not None:
        return _render_given("prompt_template", config.prompt_template.parts(), values)
    if config.messages is not None:
        return _render_given("messages", config.messages, values)
    return own_messages(mode, query, labels)


def own_messages(mode: OutputMode, query: str, labels: Sequence[str]) -> list[Message]:
    """Return the app's own question about one query."""
    values = {"query": query, "labels": ", ".join(labels)}
    return [{"role": part["role"], "content": _fill(part["pattern"], values)} for part in own_templates(mode)]


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


def _render_given(name: str, parts: Sequence[TemplateMessage], values: dict[str, str]) -> list[Message]:
    if not parts:
        raise TemplateError(f"policy.config.{name} holds no messages.")
    messages = [{"role": part.role, "content": _fill(part.text(), values)} for part in parts]
    if not any(values["query"] in message["content"] for message in messages):
        raise TemplateError(f"policy.config.{name} never shows the query. Put {{query}} into one message.")
    return messages


def _fill(template: str, values: dict[str, str]) -> str:
    """Replace the known placeholders in one pass; every other brace stays, and inserted text is not read again."""
    return _PLACEHOLDER.sub(lambda match: values[match[1] or match[2]], template)
