"""Writes ``docs/cli.md`` from the commands' own help: ``python -m mipro_walk.cli.reference docs/cli.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mipro_walk.cli.main import ENV_PREFIX, PROGRAM, build

WIDTH = 100
HEAD = f"""\
# Command line

Generated from `{PROGRAM} --help` and the help of every command; do not edit by hand.
Every option has an environment variable: `--max-cost-usd` is `{ENV_PREFIX}MAX_COST_USD`. An option on the command
line wins over its variable.
"""


def render() -> str:
    """Return the whole reference as Markdown."""
    command = build()
    context = command.make_context(PROGRAM, [], resilient_parsing=True, terminal_width=WIDTH, max_content_width=WIDTH)
    return HEAD + "".join(_pages(command, context))


def _pages(command: Any, context: Any) -> Iterator[str]:
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield f"\n## `{context.command_path}`\n\n```text\n{text}\n```\n"
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            inner = child.make_context(
                name, [], parent=context, resilient_parsing=True, terminal_width=WIDTH, max_content_width=WIDTH
            )
            yield from _pages(child, inner)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")
