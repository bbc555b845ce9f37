"""``extra_body`` and ``extra_headers``: what they may hold, and that no key is among it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from mipro_walk.config.problems import Problems, printable
from mipro_walk.config.tables import plain_json

OWN_KEYS = ("model", "temperature", "max_completion_tokens", "reasoning_effort")
OUR_FIELDS = frozenset(
    {"messages", "stream", "stream_options", "n", "tools", "tool_choice", "functions", "function_call"}
    | {"response_format", "max_tokens", *OWN_KEYS}
)
"""Fields of a request that the run decides; some have keys of their own."""
OUR_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie", "host", "expect"}
    | {"content-length", "content-type", "content-encoding", "transfer-encoding", "accept", "accept-encoding"}
    | {"connection", "upgrade", "te", "trailer"}
)
MAX_HEADERS, MAX_HEADER_CHARS = 20, 500
KEY_FIX = "looks like a key. Keys stay out of files: set an environment variable and name it with api_key_env"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_SECRET_NAME = re.compile(r"(?:^|[_-])(?:api_?key|token|secret|password|passwd|credentials?|auth(?:orization)?)$", re.I)
_SECRET_START = re.compile(
    r"(?:(?i:bearer|basic)[ _-]|sk-|sk_|gsk_|pk-|xai-|ghp_|gho_|github_pat_|glpat-|hf_|AIza|AKIA|eyJ)"
)
_OPAQUE = re.compile(r"[A-Za-z0-9+/_=.~-]{24,}")
OPAQUE_BITS = 3.5
"""Bits for each character: random keys have more, words and paths mostly less."""


def read_body(value: Mapping[str, Any] | None, where: str, problems: Problems) -> Mapping[str, Any] | None:
    """Return ``extra_body`` as plain JSON; note fields that the run decides itself, and what looks like a key."""
    if value is None:
        return None
    for key in OUR_FIELDS & set(value):
        own = f"set {key} beside it" if key in OWN_KEYS else "the run decides it"
        problems.add(where, f"{where}.{key}{problems.at(where)}: {own}.")
    _refuse_secrets(value, where, problems)
    found: dict[str, Any] = plain_json(value, where, problems)
    return found


def read_headers(value: Mapping[str, Any] | None, where: str, problems: Problems) -> Mapping[str, str] | None:
    """Return ``extra_headers``; note names and values that no request may have."""
    if value is None:
        return None
    if len(value) > MAX_HEADERS:
        problems.add(where, f"{where}{problems.at(where)}: holds more than {MAX_HEADERS} headers.")
    for name, text in list(value.items())[:MAX_HEADERS]:
        at = f"{where}.{printable(name)[:100]}{problems.at(where)}"
        if not _HEADER_NAME.fullmatch(name):
            problems.add(where, f"{at}: is no name of a header.")
        elif name.lower() in OUR_HEADERS or name.lower().startswith("proxy-"):
            problems.add(where, f"{at}: this header is set by the program; name a key's variable with api_key_env.")
        elif not isinstance(text, str) or len(text) > MAX_HEADER_CHARS or not _HEADER_VALUE.fullmatch(text):
            problems.add(where, f"{at}: must be printable ASCII text of at most {MAX_HEADER_CHARS} characters.")
    _refuse_secrets(value, where, problems)
    return {name: str(text) for name, text in value.items()}


def looks_like_a_key(name: str, text: str) -> bool:
    """Whether ``text``, written as ``name``, is more likely a secret than a setting.

    >>> looks_like_a_key("route", "fallback"), looks_like_a_key("x", "sk-0123456789abcdef")
    (False, True)
    """
    if _SECRET_START.match(text) and len(text) >= 12:
        return True
    if _SECRET_NAME.search(name) and len(text) >= 8:
        return True
    return any(map(_is_opaque, text.split()))


def _is_opaque(word: str) -> bool:
    """Whether a word is long, mixes digits with letters and has the entropy of something drawn at random."""
    has_both = any(c.isdigit() for c in word) and any(c.isalpha() for c in word)
    return bool(has_both and _OPAQUE.fullmatch(word) and _bits(word) >= OPAQUE_BITS)


def _bits(word: str) -> float:
    counts = Counter(word).values()
    return -sum(count / len(word) * math.log2(count / len(word)) for count in counts)


def _refuse_secrets(value: Mapping[str, Any], where: str, problems: Problems) -> None:
    for name in dict.fromkeys(name for name, text in _texts(value, "") if looks_like_a_key(name, text)):
        problems.add(where, f"{where}.{printable(name)[:100]}{problems.at(where)}: {KEY_FIX}.")


def _texts(value: Any, name: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield every text with the name it stands under."""
    if isinstance(value, str):
        yield name, value
    elif depth <= 8 and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, str(key), depth + 1)
    elif depth <= 8 and isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item, name, depth + 1)
