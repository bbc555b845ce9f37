"""A prompt that came with the request, in place of the app's own question."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from .contract import TemplateError
from .schemas import PolicyConfig, TemplateMessage

_PLACEHOLDER: Final = re.compile(r"\{\{\s*(query|text|labels)\s*\}\}|\{(query|text|labels)\}")

Message = dict[str, str]


def given_messages(config: PolicyConfig, query: str, labels: Sequence[str]) -> list[Message] | None:
    """Return the request's own messages, filled in: `prompt_template` before `messages`; `None` if it has none.

    Raises:
        TemplateError: if the prompt is empty or leaves the query out.
    """
    values = {"query": query, "text": query, "labels": ", ".join(labels)}
    if config.prompt_template is not None:
        return _render("prompt_template", config.prompt_template.parts(), values)
    if config.messages is not None:
        return _render("messages", config.messages, values)
    return None


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace the known placeholders in one pass; every other brace stays, and inserted text is not read again."""
    return _PLACEHOLDER.sub(lambda match: values[match[1] or match[2]], template)


def _render(name: str, parts: Sequence[TemplateMessage], values: Mapping[str, str]) -> list[Message]:
    if not parts:
        raise TemplateError(f"policy.config.{name} holds no messages.")
    messages = [{"role": part.role, "content": fill(part.text(), values)} for part in parts]
    if not any(values["query"] in message["content"] for message in messages):
        raise TemplateError(f"policy.config.{name} never shows the query. Put {{query}} into one message.")
    return messages
