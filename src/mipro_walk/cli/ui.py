"""The walkthrough's ``Ui`` on a terminal: everything goes to standard error, foreign text through ``visible``."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from mipro_walk.cli.console import NARROW, can_print
from mipro_walk.cli.heartbeat import Heartbeat
from mipro_walk.cli.visible import foreign, visible
from mipro_walk.errors import ConfigError
from mipro_walk.walkthrough.ui import Check, Choice, Progress, Question, QuitRequested

MAX_TEXT_WIDTH = 96
_FIGURE = re.compile(r"[\d.,]+")
STYLES = {"OK": "bold green", "WARN": "bold yellow", "FAIL": "bold red"}
_ASCII = str.maketrans(
    {"·": "-", "─": "-", "…": "...", "›": ">", "→": "->", "\u2013": "-", "×": "x", "≤": "<=", "≥": ">="}
)


class TerminalUi:
    """Talks on ``console``, reads from standard input."""

    def __init__(self, console: Console, *, is_interactive: bool) -> None:
        self._console = console
        self._is_interactive = is_interactive
        self._is_ascii = not can_print("·─…›→×", console.encoding)

    @property
    def is_interactive(self) -> bool:
        """Whether there is somebody to ask."""
        return self._is_interactive

    @property
    def encoding(self) -> str:
        """What the terminal can print."""
        return self._console.encoding

    def heading(self, text: str, aside: str = "") -> None:
        """Print the title of a step over a rule."""
        width = self._width
        line = Text(self._own(text), style="bold")
        if aside and len(text) + len(aside) + 2 <= width:
            line.append(" " * (width - len(line.plain) - len(self._own(aside))))
            line.append(self._own(aside), style="not bold dim")
        self._console.print()
        self._console.print(line)
        self._console.print(Text(self._own("─") * width, style="dim"))

    def say(self, text: str) -> None:
        """Print a paragraph of ours, wrapped."""
        lines = textwrap.wrap(self._own(text), self._width, break_long_words=False, break_on_hyphens=False)
        self._console.print("\n".join(lines), soft_wrap=True)

    def done(self, text: str) -> None:
        """Print one finished thing, marked OK."""
        self._marked("OK", text)

    def warn(self, text: str) -> None:
        """Print something that deserves attention, marked WARN."""
        self._marked("WARN", text)

    def fields(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Print names and values; one under the other on narrow screens, paths and commands never cut."""
        if self._console.width < NARROW or not self._console.is_terminal:
            for name, value in pairs:
                self._hanging(Text(self._own(f"  {name}: {self._safe(value)}")), 4)
            return
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in pairs:
            table.add_row(self._own(name), Text(self._own(self._safe(value))))
        self._print(Padding(table, (0, 0, 0, 2), expand=False))

    def checks(self, checks: Sequence[Check]) -> None:
        """Print a check list: the word first, so that it reads without colour, and the fix below."""
        is_narrow = self._console.width < NARROW
        width = 0 if is_narrow else max(len(check.name) for check in checks)
        indent = 8 if is_narrow else width + 10
        for check in checks:
            line = Text("  ")
            line.append(f"{check.status:<4}", style=STYLES[check.status])
            line.append(f"  {self._own(check.name):<{width}}" + (": " if is_narrow else "  "))
            line.append(self._own(self._safe(check.detail)), style="dim" if check.status == "OK" else "")
            self._hanging(line, indent)
            if check.fix and check.status != "OK":
                self._hanging(Text(" " * indent + self._own(self._safe(check.fix)), style="cyan"), indent)

    def document(self, text: str, language: Literal["toml", "json"]) -> None:
        """Print a file's content with syntax colours where there are colours."""
        shown = visible(self._own(text), self._console.encoding, keep_newlines=True).rstrip()
        self._console.print()
        if self._console.color_system is None:
            self._console.print(textwrap.indent(shown, "  "), soft_wrap=True)
        else:
            # Plain ANSI colours follow the user's own palette, light or dark.
            syntax = Syntax(shown, language, theme="ansi_dark", background_color="default", word_wrap=True)
            self._console.print(Padding(syntax, (0, 0, 0, 2), expand=False))
        self._console.print()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a small table, figures to the right; ``key: value`` lines on narrow screens."""
        if self._console.width < NARROW:
            for row in rows:
                pairs = (f"{column}: {self._safe(cell)}" for column, cell in zip(columns, row, strict=True))
                self._console.print(self._own("  " + ", ".join(pairs)), soft_wrap=True)
            return
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for number, column in enumerate(columns):
            are_figures = all(_FIGURE.fullmatch(row[number]) for row in rows)
            table.add_column(self._own(column), justify="right" if are_figures else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(self._own(self._safe(cell))) for cell in row))
        self._console.print(Padding(table, (0, 0, 0, 2), expand=False))

    @contextmanager
    def working(self, text: str) -> Iterator[Progress]:
        """Show a spinner on a terminal; elsewhere print each text as a line."""
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            yield from self._plain_working(text)
            return
        spinner = "line" if self._is_ascii else "dots"
        with self._console.status(escape(self._own(text)), spinner=spinner) as status:
            yield lambda new: status.update(escape(self._own(self._safe(new))))

    def results(self, documents: Mapping[str, Mapping[str, Any]], folder: str) -> None:
        """Show what a job found."""
        from mipro_walk.cli.results_screen import render

        render(documents, self._console, folder=Path(folder))

    def ask(self, question: Question) -> str:
        """Ask until the answer is one of the choices; Enter takes the default."""
        if not self._is_interactive:
            return self._default_of(question)
        self._console.print()
        if question.text:
            self._print(Text(self._own(question.text), style="bold"))
        if any(len(choice.label) > 24 for choice in question.choices):
            self._list_choices(question)
        while True:
            answer = self._read(self._prompt(question))
            if answer == "" and question.default is not None:
                answer = question.default
            if answer in {choice.key for choice in question.choices}:
                self._console.print()
                return answer
            keys = ", ".join(choice.key for choice in question.choices if choice.key)
            self._console.print(Text(f"Please type one of {keys}, or press Enter." if keys else "Please press Enter."))

    def ask_text(self, question: Question) -> str:
        """Ask for a line of text; Enter takes the default."""
        if not self._is_interactive:
            return self._default_of(question)
        self._console.print()
        self._print(Text(self._own(question.text), style="bold"))
        if question.default:
            self._hanging(Text(f"  Enter  {self._own(self._safe(question.default))}"), 9)
        while True:
            answer = self._read_line(Text(self._own("› "), style="bold"))
            if answer or question.default is not None:
                return answer or question.default or ""
            self._console.print(Text("Please type something, or end with Ctrl-C."))

    def _default_of(self, question: Question) -> str:
        if question.default is None:
            raise ConfigError(f"{question.text} Nobody can be asked here.", f"Pass {question.flag}.")
        return question.default

    def _list_choices(self, question: Question) -> None:
        for choice in question.choices:
            key = "Enter" if choice.key == question.default else choice.key
            self._hanging(Text(f"  {key:<5}  {self._own(self._safe(choice.label))}"), 9)

    def _prompt(self, question: Question) -> Text:
        if any(len(choice.label) > 24 for choice in question.choices):
            return Text(self._own("› "), style="bold")
        line = Text()
        for choice in question.choices:
            line.append(self._key(choice, question.default), style="bold cyan")
            line.append(f" {self._own(choice.label)}   ")
        line.append(self._own("› "), style="bold")
        return line

    @staticmethod
    def _key(choice: Choice, default: str | None) -> str:
        return "[Enter]" if choice.key == default else choice.key

    def _read(self, prompt: Text) -> str:
        return self._read_line(prompt).lower()

    def _read_line(self, prompt: Text) -> str:
        self._console.print(prompt, end="", soft_wrap=True)
        self._console.file.flush()
        line = sys.stdin.readline()
        if line == "":  # the input ended
            self._console.print()
            raise QuitRequested
        return line.strip()

    def _marked(self, word: str, text: str) -> None:
        line = Text("  ")
        line.append(f"{word:<4}", style=STYLES[word])
        line.append("  " + self._own(self._safe(text)))
        self._hanging(line, 8)

    def _hanging(self, line: Text, indent: int) -> None:
        """Print with later lines indented, folding long words; unwrapped where nobody looks at a screen."""
        if not self._console.is_terminal:
            self._console.print(line, soft_wrap=True)
            return
        _, *rest = line.wrap(self._console, self._console.width, overflow="fold")
        if rest and self._console.width - indent >= 20:
            table = Table.grid()
            table.add_column(width=indent, no_wrap=True)
            table.add_column(overflow="fold")
            table.add_row(line[:indent], line[indent:])
            self._console.print(table)
        else:
            self._console.print(line, overflow="fold")

    def _print(self, renderable: Text | Padding) -> None:
        self._console.print(renderable, width=self._width)

    @property
    def _width(self) -> int:
        return min(self._console.width, MAX_TEXT_WIDTH)

    def _plain_progress(self, text: str) -> None:
        self._console.print(self._own(f"  ...   {self._safe(text)}"), soft_wrap=True)

    def _plain_working(self, text: str) -> Iterator[Progress]:
        """Print each text as a line, and every five seconds that it is still under way."""
        self._plain_progress(text)
        with Heartbeat(lambda seconds: self._plain_progress(f"still at it, {seconds:.0f} s")) as heartbeat:

            def tell(new: str) -> None:
                heartbeat.alive()
                self._plain_progress(new)

            yield tell

    def _own(self, text: str) -> str:
        return text.translate(_ASCII) if self._is_ascii else text

    def _safe(self, text: str) -> str:
        return foreign(text, self._console).plain
