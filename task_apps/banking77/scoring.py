"""Reading a model's answer and scoring it against the expected label.

The rule, in order; the first that applies decides:

1. Tool call mode: the `intent` argument of every `classify_intent` call is read. Arguments that are no JSON
   object are `not_json`; different intents are `ambiguous`. Without such a call the text is read instead.
2. Empty text is `no_answer`. A surrounding code fence is removed.
3. Text that starts with `{` is read as a JSON object with `intent`.
4. Otherwise a bare label counts in every mode.
5. In text mode, prose of at most 300 characters counts if it names exactly one label as a whole word; the
   longest label wins where one contains another, and two different labels are `ambiguous`.
   In the other modes text that is neither JSON nor a bare label is `not_json`.

Labels are compared after NFKC, case folding, spaces and hyphens to underscores, and removal of quotes and
punctuation around them: `"Card arrival."` is `card_arrival`. Nothing is guessed beyond that: no edit distance.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal

from task_apps.serving.contract import ModelReply, OutputMode

Reason = Literal["no_answer", "unknown_label", "ambiguous", "not_json", "wrong"]

TOOL_NAME: Final = "classify_intent"
MAX_PROSE_CHARACTERS: Final = 300
_SEPARATORS: Final = re.compile(r"[\s_\-\u2010-\u2015]+")
_AROUND: Final = re.compile(r"^[\W_]+|[\W_]+$")
_FENCE: Final = re.compile(r"^```[a-zA-Z]*\s*\n?(.*?)\n?\s*```$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A label, or the reason why there is none (exactly one of the two)."""

    label: str | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Score:
    """The outcome of one rollout; `reason` is None exactly when `reward` is 1."""

    reward: float
    predicted: str | None
    reason: Reason | None


def score_reply(reply: ModelReply, expected: str, labels: Sequence[str], mode: OutputMode) -> Score:
    """Score one reply: 1.0 for the expected label, else 0.0 with a reason. Never raises on model output."""
    parsed = parse_reply(reply, labels, mode)
    if parsed.label == expected:
        return Score(1.0, parsed.label, None)
    return Score(0.0, parsed.label, parsed.reason or "wrong")


def parse_reply(reply: ModelReply, labels: Sequence[str], mode: OutputMode) -> Parsed:
    """Find the label that a reply names (rule in the module docstring)."""
    index = _index(tuple(labels))
    calls = [call for call in reply.tool_calls if call.name == TOOL_NAME]
    if mode == "tool_calls" and calls:
        results = {_parse_object(call.arguments, index) for call in calls}
        return results.pop() if len(results) == 1 else Parsed(None, "ambiguous")
    return _parse_text(reply.content, index, mode)


def normalise_label(text: str) -> str:
    """Return the form in which answers and labels are compared."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _AROUND.sub("", _SEPARATORS.sub("_", folded))


@dataclass(frozen=True, slots=True)
class _LabelIndex:
    """Labels by normalised form; a form shared by two labels maps to None and needs the exact spelling."""

    exact: frozenset[str]
    by_form: MappingProxyType[str, str | None]
    anywhere: re.Pattern[str]

    def match(self, text: str) -> Parsed:
        if text in self.exact:
            return Parsed(text, None)
        form = normalise_label(text)
        if form not in self.by_form:
            return Parsed(None, "unknown_label" if form else "no_answer")
        label = self.by_form[form]
        return Parsed(label, None if label is not None else "ambiguous")


@lru_cache(maxsize=128)
def _index(labels: tuple[str, ...]) -> _LabelIndex:
    by_form: dict[str, str | None] = {}
    for label in labels:
        if form := normalise_label(label):
            by_form[form] = label if form not in by_form else None
    # Longest first: "card_payment_wrong_exchange_rate" must not be read as "exchange_rate".
    forms = sorted(by_form, key=len, reverse=True)
    pattern = "|".join(map(re.escape, forms)) or r"(?!)"
    anywhere = re.compile(rf"(?<![^\W_])(?:{pattern})(?![^\W_])")
    return _LabelIndex(frozenset(labels), MappingProxyType(by_form), anywhere)


def _parse_text(content: str, index: _LabelIndex, mode: OutputMode) -> Parsed:
    text = content.strip()
    if fenced := _FENCE.match(text):
        text = fenced[1].strip()
    if not text:
        return Parsed(None, "no_answer")
    if text.startswith("{"):
        return _parse_object(text, index)
    if len(text) <= MAX_PROSE_CHARACTERS:
        bare = index.match(text)
        if bare.reason != "unknown_label":
            return bare
    if mode != "text":
        return Parsed(None, "not_json")
    return _parse_prose(text, index)


def _parse_prose(text: str, index: _LabelIndex) -> Parsed:
    if len(text) > MAX_PROSE_CHARACTERS:
        return Parsed(None, "unknown_label")
    folded = _SEPARATORS.sub("_", unicodedata.normalize("NFKC", text).casefold())
    found = {index.by_form[match] for match in index.anywhere.findall(folded)}
    if not found:
        return Parsed(None, "unknown_label")
    label = found.pop()
    return Parsed(None, "ambiguous") if found or label is None else Parsed(label, None)


def _parse_object(text: str, index: _LabelIndex) -> Parsed:
    if not text.strip():
        return Parsed(None, "no_answer")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Parsed(None, "not_json")
    if not isinstance(value, dict):
        return Parsed(None, "not_json")
    intent = value.get("intent")
    if intent is None or intent == "":
        return Parsed(None, "no_answer")
    return index.match(intent) if isinstance(intent, str) else Parsed(None, "unknown_label")
