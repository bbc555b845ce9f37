"""What a step may say and ask. ``cli/ui.py`` implements it for terminals; tests use a scripted one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

CheckStatus = Literal["OK", "WARN", "FAIL"]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a check list. ``fix`` is what to do about a WARN or FAIL."""

    name: str
    status: CheckStatus
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One possible answer. ``key`` is what is typed; the default's key is typed as Enter, too."""

    key: str
    label: str


@dataclass(frozen=True, slots=True)
class Question:
    """Something to decide.

    Attributes:
        default: the key that Enter stands for, and that is taken where nobody can be asked; ``None`` has no default,
            and where nobody can be asked the flag is needed.
        flag: the option that answers it beforehand, such as ``--profile quick-local``.
    """

    text: str
    choices: tuple[Choice, ...]
    default: str | None
    flag: str = ""


class QuitRequested(Exception):
    """The user wants to stop here; what was done is kept."""


class Ui(Protocol):
    """Everything a step can do to its user."""

    @property
    def is_interactive(self) -> bool:
        """Whether there is somebody to ask."""
        ...

    @property
    def encoding(self) -> str:
        """What the user's terminal can print."""
        ...

    def heading(self, text: str, aside: str = "") -> None:
        """Open a step; ``aside`` stands at the right edge."""
        ...

    def say(self, text: str) -> None:
        """Print a paragraph of ours, wrapped."""
        ...

    def done(self, text: str) -> None:
        """Print one finished thing, marked OK."""
        ...

    def warn(self, text: str) -> None:
        """Print something that deserves attention, marked WARN."""
        ...

    def fields(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Print names and values in two columns; values may be foreign text."""
        ...

    def checks(self, checks: Sequence[Check]) -> None:
        """Print a check list."""
        ...

    def document(self, text: str, language: Literal["toml", "json"]) -> None:
        """Print a file's content with syntax colours where there are colours."""
        ...

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a small table."""
        ...

    def working(self, text: str) -> AbstractContextManager[Progress]:
        """Show that something is going on; the progress function replaces the text."""
        ...

    def results(self, documents: Mapping[str, Mapping[str, Any]], folder: str) -> None:
        """Show what a job found."""
        ...

    def ask(self, question: Question) -> str:
        """Return the key of the answer.

        Raises:
            QuitRequested: the input ended.
            ConfigError: nobody can be asked, and there is no default.
        """
        ...

    def ask_text(self, question: Question) -> str:
        """Return a line of text as it was typed, without blanks at its ends; a question of this kind has no choices.

        Raises:
            QuitRequested: the input ended.
            ConfigError: nobody can be asked, and there is no default.
        """
        ...
