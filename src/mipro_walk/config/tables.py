"""The two free tables, ``env_config`` and ``initial_prompt``, and the URLs: checks that a type cannot express."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mipro_walk.config.problems import Problems, printable, show
from mipro_walk.config.sections import MAX_BASELINE_LENGTH

MAX_DEPTH = 8
"""Tables and lists inside each other in ``env_config``."""


def plain_json(value: Any, where: str, problems: Problems, depth: int = 0) -> Any:
    """Return a copy of ``value``; note whatever JSON cannot carry to a task app."""
    if depth > MAX_DEPTH:
        problems.add(where, f"{where}{problems.at(where)}: nested deeper than {MAX_DEPTH} levels.")
        return None
    if isinstance(value, Mapping):
        return {
            key: plain_json(item, f"{where}.{printable(key)}", problems, depth + 1)
            for key, item in value.items()
            if item is not None  # JSON null: not said; TOML has no word for it
        }
    if isinstance(value, (list, tuple)):
        return [plain_json(item, where, problems, depth + 1) for item in value]
    if not _is_plain(value):
        what = "must be text, a number, true, false, a list or a table"
        problems.add(where, f"{where} = {show(value)}{problems.at(where)}: {what} that JSON can carry.")
    return value


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return is_printable_unicode(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return False


def is_printable_unicode(text: str) -> bool:
    """Tell whether ``text`` can be stored as UTF-8 and holds no NUL."""
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def baseline_instruction(table: Any, where: str, problems: Problems, ignored: list[str]) -> str | None:
    """Return the text of the first system message of ``initial_prompt``, by ``order``.

    The other messages belong to the task app, which asks its own question; they are noted as not used.
    """
    if not isinstance(table, Mapping):
        problems.add(where, f"{where} = {show(table)}{problems.at(where)}: must be a table.")
        return None
    name = "messages" if "messages" in table else "sections"
    messages = table.get(name)
    if not isinstance(messages, (list, tuple)) or not messages or not all(isinstance(m, Mapping) for m in messages):
        problems.add(where, f"{where}{problems.at(where)}: needs messages, a list of {{ role, pattern }} tables.")
        return None
    for key in table:
        if key in ("id", "name", "wildcards"):
            ignored.append(f"{where}.{key}")
        elif key != name:
            problems.unknown(where, str(key), ("id", "name", "wildcards", "messages"))
    systems = sorted((m for m in messages if m.get("role") in ("system", "developer")), key=_order)
    if len(systems) < len(messages):
        ignored.append(f"{where}.{name} other than system")
    if not systems:
        return None
    text = systems[0].get("pattern", systems[0].get("content"))
    if not isinstance(text, str) or not 0 < len(text) <= MAX_BASELINE_LENGTH or not is_printable_unicode(text):
        limit = f"text of 1 to {MAX_BASELINE_LENGTH} characters"
        problems.add(where, f"{where}{problems.at(where)}: the system message's pattern must be {limit}.")
        return None
    return text


def _order(message: Mapping[str, Any]) -> float:
    order = message.get("order", 0)
    return order if isinstance(order, int) else 0


def check_url(url: str, where: str, problems: Problems) -> bool:
    """Note what is wrong with an HTTP address; the address is repeated only if it holds no credentials."""
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_valid = urlsplit(""), False
    fault = ""
    if "@" in url:
        fault = "must not hold a user name, a password or '@'"
        url = "…"
    elif parts.scheme not in ("http", "https") or not parts.hostname or not port_is_valid:
        fault = "must be an address such as http://127.0.0.1:8002"
    elif any(char.isspace() or not char.isprintable() or char == "\\" for char in url):
        fault = "must not hold spaces, control characters or backslashes"
    elif parts.fragment or parts.query or "#" in url or "?" in url:
        fault = "must not hold a query or a fragment"
    if fault:
        problems.add(where, f"{where} = {show(url)}{problems.at(where)}: {fault}.")
    return not fault
