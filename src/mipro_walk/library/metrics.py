"""What a score is: a function of the answer and the row, checked so that no nonsense becomes a number."""

from __future__ import annotations

import inspect
import math
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, overload

from mipro_walk.errors import ConfigError
from mipro_walk.types import Example, Outcome

Scored = bool | float | Mapping[str, float]
"""What a score function returns: a number, or numbers by name of which ``score`` is the one to improve."""
Score = Callable[[str, Example], Scored | Awaitable[Scored]]
"""Scores an answer to a row; higher is better."""

SCORE = "score"


class UnmeasuredError(Exception):
    """Raise it in a score function that could not measure, since its judge was not reached for example.

    The outcome is unknown then and counts as no score, neither good nor bad.
    """


@dataclass(frozen=True, slots=True)
class Metric:
    """A score function with a name and a range.

    Attributes:
        function: gets the answer and the row.
        name: what messages and figures call it.
        low, high: the range of what ``function`` returns; scaled to 0..1.
    """

    function: Score
    name: str
    low: float = 0.0
    high: float = 1.0

    def __call__(self, answer: str, example: Example) -> Scored | Awaitable[Scored]:
        """Return what the function returns, neither checked nor scaled."""
        return self.function(answer, example)

    def outcome(self, returned: Any, answer: str) -> Outcome:
        """Return what the function returned as an outcome. Raises ValueError with what is wrong about it."""
        if isinstance(returned, Mapping):
            if SCORE not in returned:
                raise ValueError(f"returned numbers without {SCORE!r}: {sorted(returned)}")
            figures = {str(name): _number(value, name) for name, value in returned.items() if name != SCORE}
            value = self._scaled(_number(returned[SCORE], SCORE))
        else:
            figures, value = {}, self._scaled(_number(returned))
        return Outcome(value, answer, "" if value == 1.0 else "wrong", figures)

    def _scaled(self, value: float) -> float:
        if not self.low <= value <= self.high:
            raise ValueError(f"returned {value!r}, which is not between {self.low:g} and {self.high:g}")
        return (value - self.low) / (self.high - self.low)


@overload
def metric(function: Score, /) -> Metric: ...
@overload
def metric(*, name: str = "", low: float = 0.0, high: float = 1.0) -> Callable[[Score], Metric]: ...
def metric(
    function: Score | None = None, /, *, name: str = "", low: float = 0.0, high: float = 1.0
) -> Metric | Callable[[Score], Metric]:
    """Make a score function a named metric with a range: a decorator, with or without arguments.

    The function gets the answer and the row, may be ``async``, and returns a number from ``low`` to ``high``, a
    ``bool``, or a mapping of numbers whose ``"score"`` is the one to improve; the others are kept as figures. It
    raises :class:`UnmeasuredError` where it could not measure. Anything else it raises, and anything that is no number
    in the range, stops the optimization with the row.

    Raises:
        ConfigError: ``low`` is not below ``high``.

    >>> @metric(low=1, high=5)
    ... def stars(answer, example):
    ...     return min(5, 1 + answer.count("!"))
    >>> stars.name, stars("Great!!", Example(0, "review", ""))
    ('stars', 3)
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"A metric cannot range from {low!r} to {high!r}.", "Give a low below its high.")

    def made(scores: Score) -> Metric:
        return Metric(scores, name or name_of(scores), low, high)

    return made if function is None else made(function)


def as_metric(score: Score) -> Metric:
    """Return a score function as a metric from 0 to 1; a metric stays what it is."""
    return score if isinstance(score, Metric) else Metric(score, name_of(score))


def exact_match(answer: str, example: Example) -> float:
    """Return 1.0 if the answer is the label, whatever its case and the white space around it.

    >>> exact_match(" Blue\\n", Example(0, "sky", "blue"))
    1.0
    """
    return float(_normal(answer) == _normal(example.label))


def name_of(function: Callable[..., Any]) -> str:
    """Return what messages call a function."""
    return getattr(inspect.unwrap(function), "__name__", type(function).__name__)


def _number(value: Any, name: str = "") -> float:
    try:
        number = float(value)  # a NumPy number is one, too
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, str) or not math.isfinite(number):
        raise ValueError(f"returned {value!r}{f' as {name!r}' if name else ''}, which is no number")
    return number


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
