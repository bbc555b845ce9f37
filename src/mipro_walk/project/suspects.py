"""Rows that a person should look at before a model does. They are told and left alone: data may be about markup."""

from __future__ import annotations

import re

TOKEN_CHARS = 4.0
"""Characters of English text in one token, about."""
FOREIGN_TOKEN_CHARS = 1.5
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_MARKUP = re.compile(r"<(?:!--|/?[a-zA-Z][a-zA-Z0-9]*(?:\s[^<>]*)?/?)>")
_ORDERS = ("ignore", "disregard", "forget", "system prompt", "<|", "[inst]", "you are now", "###", "</system")
_INJECTION = re.compile(
    r"\b(?:ignore|disregard|forget)\b.{0,30}\b(?:previous|prior|above|earlier|all|your)\b.{0,30}"
    r"\b(?:instruction|prompt|rule|message|order)s?\b"
    r"|<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id)\|?>|\[/?inst\]|</?system>"
    r"|\b(?:reveal|print|show|repeat)\b.{0,20}\bsystem prompt\b|\byou are now\b.{0,40}\b(?:mode|assistant|dan)\b"
    r"|^\s*###\s*(?:system|instruction)",
    re.DOTALL | re.MULTILINE,
)


def suspicions(text: str) -> list[str]:
    """Return the codes of what is odd about a text: ``control-characters``, ``markup``, ``instruction-like``."""
    found = []
    if not text.isprintable() and _CONTROL.search(text):
        found.append("control-characters")
    if "<" in text and _MARKUP.search(text):
        found.append("markup")
    low = text.casefold()
    if any(word in low for word in _ORDERS) and _INJECTION.search(low):
        found.append("instruction-like")
    return found


def approximate_tokens(text: str) -> int:
    """Return about how many tokens a text is: a quarter of its characters, more for other alphabets than Latin."""
    if text.isascii():
        return int(len(text) / TOKEN_CHARS) + 1
    foreign = sum(character > "\u024f" for character in text)
    return int((len(text) - foreign) / TOKEN_CHARS + foreign / FOREIGN_TOKEN_CHARS) + 1
