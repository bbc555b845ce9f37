"""Collects everything that is wrong with a configuration, in words a person can act on."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError

MAX_SHOWN = 60
"""Characters of a refused value that are repeated in a message."""


@dataclass
class Problems:
    """Problems found so far.

    Attributes:
        origin: what was read, for the headline: a file's path, ``request body``.
        lines: line numbers by dotted key, where known.
        subject, fix: what the problems are in and what to do, for the headline.
    """

    origin: str
    lines: Mapping[str, int] = field(default_factory=dict)
    subject: str = "configuration"
    fix: str = "Correct these keys; docs/configuration.md lists every key with its range."
    _found: list[tuple[int, str]] = field(default_factory=list)
    _untrusted: list[tuple[str, str]] = field(default_factory=list)

    def add(self, where: str, text: str) -> None:
        """Note a problem with the dotted key ``where``."""
        self._found.append((self.line(where) or 0, text))

    def add_untrusted(self, where: str, text: str, pair: tuple[str, str]) -> None:
        """Note a problem that goes away once the person confirms ``pair``: an address and a key's variable."""
        self.add(where, text)
        self._untrusted.append(pair)

    def unknown(self, table: str, key: str, known: Iterable[str], elsewhere: str | None = None) -> None:
        """Note a key that means nothing in ``table``, with the nearest one that does. Its value is not repeated."""
        place = f"[{table}]" if table else "the top level"
        hint = f" It belongs in [{elsewhere}]." if elsewhere else _did_you_mean(key, known)
        where = f"{table}.{key}".lstrip(".")
        self.add(where, f"Unknown key {show(key)} in {place}{self.at(where)}.{hint}")

    def unknown_name(self, where: str, what: str, name: str, known: Iterable[str], home: str) -> None:
        """Note a ``name`` within the value of ``where`` that ``home`` does not list, with the nearest one that is."""
        hint = _did_you_mean(name, known)
        self.add(where, f"{where}{self.at(where)} has the {what} {show(name)}, which is not in {home}.{hint}")

    def line(self, where: str) -> int | None:
        """Return the line of the key, else of the nearest table around it; nothing for a key of another file."""
        if where.endswith(")"):
            return None
        while where:
            if where in self.lines:
                return self.lines[where]
            where = where.rpartition(".")[0]
        return None

    def at(self, where: str) -> str:
        """Return ``" (line 12)"`` or nothing."""
        line = self.line(where)
        return f" (line {line})" if line else ""

    def raise_if_any(self) -> None:
        """Raise everything at once, in the order of the file.

        Raises:
            ConfigError: at least one problem was found.
        """
        if not self._found:
            return
        texts = [text for _, text in sorted(self._found, key=lambda item: item[0])]
        headline = f"{self.origin}: {counted(len(texts), 'problem')} in the {self.subject}."
        if len(self._untrusted) == len(texts):
            raise UntrustedHostError(headline, TRUST_FIX, texts, tuple(self._untrusted))
        raise ConfigError(headline, self.fix, problems=texts)


class UntrustedHostError(ConfigError):
    """A configuration that is right but for hosts that nobody has confirmed.

    Attributes:
        pairs: address and key variable of each.
    """

    def __init__(self, message: str, fix: str, problems: list[str], pairs: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message, fix, problems)
        self.pairs = pairs


TRUST_FIX = "Confirm the hosts with `mipro-walk models trust` if you know them, or take them out of the file."


def show(value: object) -> str:
    """Return ``value`` as a short printable text; control characters come out escaped."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of many thousand digits, a bottomless list
        return "a value too large to show"
    if isinstance(value, bool):
        text = text.lower()
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def printable(text: str) -> str:
    """Return ``text`` with everything unprintable escaped, for a place where quotes would be noise."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def allowed(info: FieldInfo) -> str:
    """Return in words what a key accepts, such as ``a whole number from 1 to 50``."""
    kind = plain_type(info.annotation)
    if get_origin(kind) is Literal:
        choices = [f'"{choice}"' for choice in get_args(kind)]
        return choices[0] if len(choices) == 1 else "one of " + ", ".join(choices)
    if kind is bool:
        return "true or false"
    if kind is int:
        return "a whole number" + _range(info)
    if kind is float:
        return "a number" + _range(info)
    if kind is str:
        pattern = pattern_of(info)
        if "_API_KEY" in pattern:
            return "the name of a variable that ends in _API_KEY"
        return "a word in small letters" if pattern.startswith("^[a-z]") else "text, not empty"
    if get_origin(kind) is dict:
        return "a table"
    return "a list of seeds (whole numbers) or { start, end } ranges"


def pattern_of(info: FieldInfo) -> str:
    """Return the regular expression that a text has to match, ``""`` without one."""
    inner = (m for arg in get_args(info.annotation) for m in getattr(arg, "__metadata__", ()))
    pieces = (piece for m in (*info.metadata, *inner) for piece in (m, *getattr(m, "metadata", ())))
    return next((str(p.pattern) for p in pieces if getattr(p, "pattern", None)), "")


def plain_type(annotation: Any) -> Any:
    """Return the type without ``| None`` and without annotations."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation


def _range(info: FieldInfo) -> str:
    limits = {name: getattr(m, name) for m in info.metadata for name in ("ge", "gt", "le") if hasattr(m, name)}
    if "gt" in limits:
        return f" above {limits['gt']}, at most {limits['le']}"
    return f" from {limits['ge']} to {limits['le']}"


def _did_you_mean(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key[:100], list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
