"""The two small languages of a task's texts: ``{column}`` in a template, ``{{fixed}}`` in the instruction."""

from __future__ import annotations

import re
from collections.abc import Mapping

OPEN, CLOSE = "{{fixed}}", "{{/fixed}}"
_MARK = re.compile(r"\{\{(/?)fixed\}\}")
_FIELD = re.compile(r"(\{\{)|(\}\})|\{([^{}]*)\}|([{}])")


class TemplateProblem(ValueError):
    """A text that cannot be used as it is; the message says what is wrong with it."""


def template_fields(template: str) -> list[str]:
    """Return the names between single braces, in order, each once.

    ``{{`` and ``}}`` stand for one brace each.

    Raises:
        TemplateProblem: a brace without its partner, or an empty pair.
    """
    names: list[str] = []
    for found in _FIELD.finditer(template):
        if found[4]:
            raise TemplateProblem(f"has a single {found[4]!r} at character {found.start() + 1}; write it twice")
        if found[3] is not None and not found[3].strip():
            raise TemplateProblem(f"has empty braces at character {found.start() + 1}")
        if found[3] is not None:
            names.append(found[3])
    return list(dict.fromkeys(names))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put the values into a template that `template_fields` accepts, in one pass: what is put in is not read again."""

    def put(found: re.Match[str]) -> str:
        if found[1] or found[2]:
            return "{" if found[1] else "}"
        return values[found[3]]

    return _FIELD.sub(put, template)


def fixed_parts(text: str) -> tuple[str, ...]:
    """Return what stands between the marks, byte for byte, in order.

    Raises:
        TemplateProblem: marks that are not in pairs, an empty part, or nothing outside of them to improve.
    """
    parts: list[str] = []
    start: int | None = None
    for found in _MARK.finditer(text):
        if (found[1] == "/") != (start is not None):
            wanted = OPEN if found[1] else CLOSE
            raise TemplateProblem(f"has {found.group()} at character {found.start() + 1} without {wanted} before it")
        if start is None:
            start = found.end()
        else:
            parts.append(text[start : found.start()])
            start = None
    if start is not None:
        raise TemplateProblem(f"has {OPEN} without {CLOSE}")
    if any(not part.strip() for part in parts):
        raise TemplateProblem("has a fixed part without text")
    return tuple(parts)


def without_marks(text: str) -> str:
    """Return the text as the model sees it: fixed parts stay, their marks go."""
    return _MARK.sub("", text)
