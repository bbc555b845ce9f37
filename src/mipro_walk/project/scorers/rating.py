"""A whole number on a scale. Answer: ``{"rating": "4"}``, or the bare number.

In text the only number counts, and in ``4/5`` or ``4 out of 5`` the first. Metrics: ``exact`` (the default),
``within_one``, and ``closeness`` (1 minus the distance as a share of the scale). The correlation of answers with the
right ratings belongs to a whole run and is told with its results.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from mipro_walk.project.scorers.base import AnswerForm, BadTargetError, UnreadableError
from mipro_walk.project.scorers.classification import object_of
from mipro_walk.project.scorers.reading import property_or_text

_NUMBER = r"[-+]?\d+(?:\.\d+)?"


class Rating:
    """See the module. ``low`` and ``high`` belong to the scale."""

    def __init__(
        self, low: int, high: int, metric: Literal["exact", "within_one", "closeness"] = "exact", name: str = "rating"
    ) -> None:
        self.low, self.high = low, high
        self._metric = metric
        self._name = name
        self._of_high = re.compile(rf"({_NUMBER})\s*(?:/|out of)\s*{high}(?!\d)")

    def form(self) -> AnswerForm:
        """One property whose enum are the numbers as text: every endpoint can be held to that."""
        numbers = [str(number) for number in range(self.low, self.high + 1)]
        return AnswerForm(
            object_of(self._name, {"type": "string", "enum": numbers}),
            f"Answer with one whole number from {self.low} to {self.high} and nothing else.",
        )

    def target(self, cell: str) -> str:
        """The number."""
        try:
            number = float(cell.strip())
        except ValueError:
            raise BadTargetError(f"{cell[:60]!r} is not a number") from None
        if not number.is_integer() or not self.low <= number <= self.high:
            raise BadTargetError(f"{cell[:60]!r} is not a whole number from {self.low} to {self.high}")
        return str(int(number))

    def shown(self, target: str) -> str:
        """The same."""
        return target

    def read_answer(self, text: str) -> str:
        """See the module."""
        found = property_or_text(text, self._name)
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            raise UnreadableError("no_number")
        said = str(found)
        numbers = set(self._of_high.findall(said)) or set(re.findall(_NUMBER, said))
        if len(numbers) != 1:
            raise UnreadableError("ambiguous" if numbers else "no_number")
        number = float(numbers.pop())
        if not number.is_integer() or not self.low <= number <= self.high:
            raise UnreadableError("off_the_scale")
        return str(int(number))

    def score(self, answer: str | None, expected: str) -> tuple[float, Mapping[str, float]]:
        """The metric, and all three as figures."""
        figures = {"exact": 0.0, "within_one": 0.0, "closeness": 0.0}
        if answer is not None:
            distance = abs(int(answer) - int(expected))
            figures["exact"] = float(distance == 0)
            figures["within_one"] = float(distance <= 1)
            figures["closeness"] = 1.0 - distance / (self.high - self.low)
        return figures[self._metric], figures
