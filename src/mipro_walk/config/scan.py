"""One quick look over TOML text before the real parser sees it: line numbers, and limits it would take long to find.

The standard parser needs quadratic time for keys of many parts and recursion for nesting, so both are counted
here first, in one linear pass that knows strings and comments.
"""

from __future__ import annotations

import re

from mipro_walk.errors import ConfigError

MAX_NESTING = 32
"""Brackets and braces inside each other."""
MAX_DOTS = 2000
"""Dots outside strings and comments, in all: 16 times what a full configuration needs."""

QUOTES = "\"'"

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""+|\Z)'
    r"|'''.*?(?:'''+|\Z)"
    r'|"(?:\\.|[^"\\\n])*"?'
    r"|'[^'\n]*'?"
    r"|\#[^\n]*|\n|[\[\]{}]|[^\"'\#\n\[\]{}]+",
    re.DOTALL,
)
_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_NAME = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADER = re.compile(rf"[ \t]*\[\[?[ \t]*({_NAME})[ \t]*\]")
_KEY = re.compile(rf"[ \t]*({_NAME})[ \t]*=")


def scan_lines(text: str) -> dict[str, int]:
    """Return the line (from 1) of every key and table header, by dotted name; the first one of a name.

    Raises:
        ConfigError: nested too deeply, or made of too many dotted parts.
    """
    lines: dict[str, int] = {}
    line, depth, dots, table = 1, 0, 0, ""
    is_start = True
    for token in _TOKEN.finditer(text):
        word = token.group()
        if is_start and depth == 0 and (found := _HEADER.match(text, token.start())):
            table = _note(lines, "", found.group(1), line)
        elif is_start and depth == 0 and (found := _KEY.match(text, token.start())):
            _note(lines, table, found.group(1), line)
        is_start = word == "\n" or (is_start and word.isspace())
        line += word.count("\n")
        if word in "[{":
            depth += 1
        elif word in "]}":
            depth = max(0, depth - 1)
        elif word[0] not in "\"'#":
            dots += word.count(".")
        if depth > MAX_NESTING or dots > MAX_DOTS:
            what = "nested too deeply" if depth > MAX_NESTING else "keys of too many parts"
            raise ConfigError(f"Line {line}: {what}.", "A configuration needs no such line; remove it.")
    return lines


def _note(lines: dict[str, int], table: str, name: str, line: int) -> str:
    """Note the line of ``name`` in ``table`` and of the tables in between; return the full dotted name."""
    dotted = table
    for part in re.findall(_PART, name)[:MAX_NESTING]:
        dotted = f"{dotted}.{part.strip(QUOTES)}".lstrip(".")
        lines.setdefault(dotted, line)
    return dotted
