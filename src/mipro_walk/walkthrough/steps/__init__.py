"""One module for each of the six steps; the protocol they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mipro_walk.walkthrough.context import Context, StepResult
from mipro_walk.walkthrough.ui import Choice


@dataclass(frozen=True, slots=True)
class Introduction:
    """What is said before a step.

    Attributes:
        text: what happens and why, two or three lines.
        command: the command that does the same alone.
        takes: about how long, in words.
    """

    text: str
    command: str
    takes: str


class Step(Protocol):
    """Check, explain, do, show."""

    number: int
    title: str

    def introduce(self, ctx: Context) -> Introduction:
        """Return what is said before the question."""
        ...

    def may_skip(self, ctx: Context) -> bool:
        """Whether what this step makes is there already."""
        ...

    def choices(self, ctx: Context) -> tuple[Choice, ...]:
        """Return what else can be decided here, beside going on."""
        ...

    def choose(self, ctx: Context, key: str) -> None:
        """Ask about one of ``choices`` and remember the answer."""
        ...

    def run(self, ctx: Context) -> StepResult:
        """Do it and show it."""
        ...


class PlainStep:
    """A step without choices that cannot be skipped."""

    def may_skip(self, ctx: Context) -> bool:
        """Return ``False``."""
        return False

    def choices(self, ctx: Context) -> tuple[Choice, ...]:
        """Return none."""
        return ()

    def choose(self, ctx: Context, key: str) -> None:
        """Do nothing: there is nothing to choose."""
