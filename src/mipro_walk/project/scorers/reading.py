"""Getting at an answer inside of what models write around it."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from mipro_walk.project.scorers.base import UnreadableError

_FENCE = re.compile(r"^```[a-zA-Z]*\s*\n?(.*?)\n?\s*```$", re.DOTALL)
_SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015]+")
_AROUND = re.compile(r"^[\W_]+|[\W_]+$")


def plain(text: str) -> str:
    """Return the text without surrounding space and code fence.

    Raises:
        UnreadableError: nothing is left.
    """
    text = text.strip()
    if fenced := _FENCE.match(text):
        text = fenced[1].strip()
    if not text:
        raise UnreadableError("no_answer")
    return text


def json_value(text: str) -> Any:
    """Return the JSON value that a text is. Raises UnreadableError if it is none; NaN and infinity are none."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise UnreadableError("not_json") from None


def property_or_text(text: str, name: str) -> Any:
    """Return property ``name`` of a JSON object, or the text itself if it does not start like an object.

    Raises:
        UnreadableError: empty, a broken object, or one without the property.
    """
    text = plain(text)
    if not text.startswith("{"):
        return text
    value = json_value(text)
    found = value.get(name) if isinstance(value, dict) else None
    if found is None or found == "":
        raise UnreadableError("no_answer")
    return found


def folded(text: str) -> str:
    """Return the form in which texts are compared: NFKC, case and spaces evened out."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def label_form(text: str) -> str:
    """Return the form in which labels are compared: as `folded`, spaces and hyphens as ``_``, no quotes around."""
    bare = _AROUND.sub("", _SEPARATORS.sub("_", folded(text)))
    # A label may be made of signs alone ("+", "-"): then they are what is compared.
    return bare or folded(text).strip("\"'` ")


def canonical_json(value: Any) -> str:
    """Return a value as JSON on one line, keys in the order they have."""
    return json.dumps(value, ensure_ascii=False)


def _refuse(name: str) -> float:
    raise ValueError(name)
