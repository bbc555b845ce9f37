"""What every kind of task can do: say what an answer looks like, read one, score it.

A scorer never guesses: an answer that cannot be read scores 0 and says why. A scorer that fails, or gives anything
but a number from 0 to 1, stops the run: such a number would measure nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mipro_walk.errors import MiproWalkError

Json = dict[str, Any]


class UnreadableError(ValueError):
    """An answer that says nothing that could be scored. ``reason`` is one word, such as ``not_json``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadTargetError(ValueError):
    """A cell of the answer's column that cannot be a right answer; the message says why and what to do."""


class ScorerError(MiproWalkError):
    """A scorer failed or gave no score: a mistake in the task, not of the model."""

    code = "scorer"


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """What an answer looks like.

    Attributes:
        schema: JSON schema of the answer as an object; ``None`` for free text, which is never constrained.
        note: what is said of the form where no schema goes with the question; ``""`` for nothing.
        always: what is said in any case, such as what labels mean.
    """

    schema: Json | None
    note: str = ""
    always: str = ""


@dataclass(frozen=True, slots=True)
class Graded:
    """A scored answer.

    Attributes:
        score: 0..1.
        predicted: the answer as it was understood; ``None`` if it could not be read.
        reason: why the score is not 1; ``None`` when it is.
        figures: further measures of the same answer by name, each a finite number.
    """

    score: float
    predicted: str | None
    reason: str | None
    figures: Mapping[str, float] = field(default_factory=dict)


class Scorer(Protocol):
    """One kind of task. All methods are pure."""

    def form(self) -> AnswerForm:
        """Return what an answer looks like."""
        ...

    def target(self, cell: str) -> str:
        """Return a right answer in its canonical form.

        Raises:
            BadTargetError: it cannot be a right answer.
        """
        ...

    def shown(self, target: str) -> str:
        """Return a right answer as demonstrations show it."""
        ...

    def read_answer(self, text: str) -> str:
        """Return what a model answered in canonical form; ``text`` is JSON of the form's schema, or plain text.

        Raises:
            UnreadableError: nothing in it can be scored.
        """
        ...

    def score(self, answer: str | None, expected: str) -> tuple[float, Mapping[str, float]]:
        """Return score and figures of a canonical answer; ``None`` is one that could not be read."""
        ...


def grade(scorer: Scorer, text: str, expected: str) -> Graded:
    """Read and score what a model answered.

    Raises:
        ScorerError: the scorer failed, or gave anything but numbers, the score from 0 to 1.
    """
    who = type(scorer).__name__
    try:
        try:
            answer, reason = scorer.read_answer(text), None
        except UnreadableError as exc:
            answer, reason = None, exc.reason
        score, figures = scorer.score(answer, expected)
        numbers = [float(score), *map(float, figures.values())]
    except Exception as exc:  # whatever a scorer raises, it has not scored
        raise ScorerError(f"{who} failed: {type(exc).__name__}: {exc}"[:300], FIX) from exc
    if not all(map(math.isfinite, numbers)) or not 0.0 <= numbers[0] <= 1.0:
        raise ScorerError(f"{who} gave {score!r} with {dict(figures)!r} for {expected[:80]!r}."[:300], FIX)
    if numbers[0] < 1.0 and reason is None:
        reason = "wrong" if numbers[0] == 0.0 else "partly right"
    return Graded(numbers[0], answer, reason, dict(figures))


FIX = "A score is a finite number from 0 to 1; nothing else is recorded."
