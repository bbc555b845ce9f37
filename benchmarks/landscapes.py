"""Simulated tasks with a known truth: instructions × demonstration sets, and rows of differing difficulty.

``truth[i, d]`` is the accuracy of a candidate on all rows there could be: a mean, a main effect of the instruction, one
of the demonstration set and an interaction, each normal. A row is answered right if ``quality + ease of the row + luck
of this candidate on this row > 0``, where ``quality`` is the probit of the truth and ease and luck share a variance of
one; so the truth holds exactly, and how much of the noise two candidates share on a row is a parameter.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

START = 0.60
"""Accuracy of candidate 0, 0, …, which every schedule starts from."""
VAL_ROWS = 1000
Key = tuple[int, ...]
"""Names a candidate: instruction index and demo set index, of a program of several stages for each in turn."""
SIZES = ((12, 8), (40, 30), (200, 100))


@dataclass(frozen=True)
class Family:
    """What a kind of landscape is drawn from: standard deviations in accuracy, and the row share of the noise."""

    name: str
    instruction_sd: float
    demo_set_sd: float
    interaction_sd: float
    row_share: float
    needle: float = 0.0


FAMILIES = (
    Family("easy", 0.06, 0.08, 0.02, 0.6),
    Family("hard", 0.02, 0.03, 0.015, 0.6),
    Family("flat", 0.0, 0.0, 0.0, 0.6),
    Family("needle", 0.008, 0.008, 0.0, 0.6, needle=0.25),
    Family("noisy rows", 0.04, 0.05, 0.02, 0.05),
)


class Known(ABC):
    """Candidates of known accuracy, ``truth[key]``. ``ask`` counts calls and answers the same question the same way."""

    def __init__(self, truth: np.ndarray) -> None:
        self.truth = truth
        self.calls = 0
        self._answers: dict[Key, np.ndarray] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Levels of each axis: instructions and demonstration sets, of each stage."""
        return self.truth.shape

    def ask(self, key: Key, rows: np.ndarray | range) -> np.ndarray:
        """Return the scores (0 or 1) of a candidate on val rows; every row is a call."""
        self.calls += len(rows)
        if key not in self._answers:
            self._answers[key] = self._answered(key)
        return self._answers[key][np.asarray(rows)]

    def regret(self, key: Key) -> float:
        """Return how much of the best candidate's accuracy the returned one misses."""
        return float(self.truth.max() - self.truth[key])

    def gain(self, key: Key) -> float:
        """Return how much more accurate than the start a candidate is."""
        return float(self.truth[key] - self.truth[(0,) * self.truth.ndim])

    @abstractmethod
    def _answered(self, key: Key) -> np.ndarray:
        """Return a candidate's scores on all val rows."""


class Landscape(Known):
    """One drawn landscape of a single prompt."""

    def __init__(self, family: Family, instructions: int, demo_sets: int, seed: int) -> None:
        number = FAMILIES.index(family)
        rng = np.random.default_rng([seed, instructions, demo_sets, number])
        by_instruction = family.instruction_sd * rng.standard_normal(instructions)
        by_demo_set = family.demo_set_sd * rng.standard_normal(demo_sets)
        together = family.interaction_sd * rng.standard_normal((instructions, demo_sets))
        by_instruction[0] = by_demo_set[0] = together[0, 0] = 0.0
        truth = START + by_instruction[:, None] + by_demo_set[None] + together
        if family.needle:
            truth[rng.integers(1, instructions), rng.integers(1, demo_sets)] += family.needle
        super().__init__(np.clip(truth, 0.02, 0.98))
        self._quality = np.vectorize(NormalDist().inv_cdf)(self.truth)
        self._ease_sd = math.sqrt(family.row_share)
        self._ease = self._ease_sd * rng.standard_normal(VAL_ROWS)
        self._luck_sd = math.sqrt(1 - family.row_share)
        self._stream = [seed * 1_000_003 + number, instructions * 1_009 + demo_sets]

    def test(self, key: Key, rows: int) -> np.ndarray:
        """Return the scores of a candidate on unseen rows; they are not counted as calls."""
        ease = np.random.default_rng([*self._stream, 1]).standard_normal(rows) * self._ease_sd
        luck = np.random.default_rng([*self._stream, *key, 1]).standard_normal(rows) * self._luck_sd
        return (self._quality[key] + ease + luck > 0).astype(float)

    def _answered(self, key: Key) -> np.ndarray:
        luck = np.random.default_rng([*self._stream, *key]).standard_normal(VAL_ROWS)
        return (self._quality[key] + self._ease + self._luck_sd * luck > 0).astype(float)
