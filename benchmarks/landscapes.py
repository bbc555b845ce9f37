"""Simulated tasks with a known truth: instructions × demonstration sets, and rows of differing difficulty.

``truth[i, d]`` is the accuracy of a candidate on all rows there could be: a mean, a main effect of the instruction, one
of the demonstration set and an interaction, each normal. A row is answered right if ``quality + ease of the row + luck
of this candidate on this row > 0``, where ``quality`` is the probit of the truth and ease and luck share a variance of
one; so the truth holds exactly, and how much of the noise two candidates share on a row is a parameter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

START = 0.60
"""Accuracy of candidate (0, 0), which every schedule starts from."""
VAL_ROWS = 1000
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


class Landscape:
    """One drawn landscape. ``ask`` counts calls and gives the same answer to the same question."""

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
        self.truth = np.clip(truth, 0.02, 0.98)
        self.calls = 0
        self._quality = np.vectorize(NormalDist().inv_cdf)(self.truth)
        self._ease_sd = math.sqrt(family.row_share)
        self._ease = self._ease_sd * rng.standard_normal(VAL_ROWS)
        self._luck_sd = math.sqrt(1 - family.row_share)
        self._stream = [seed * 1_000_003 + number, instructions * 1_009 + demo_sets]
        self._answers: dict[tuple[int, int], np.ndarray] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Instructions and demonstration sets."""
        return self.truth.shape[0], self.truth.shape[1]

    def ask(self, key: tuple[int, int], rows: np.ndarray | range) -> np.ndarray:
        """Return the scores (0 or 1) of a candidate on val rows; every row is a call."""
        self.calls += len(rows)
        return self._answered(key)[np.asarray(rows)]

    def test(self, key: tuple[int, int], rows: int) -> np.ndarray:
        """Return the scores of a candidate on unseen rows; they are not counted as calls."""
        ease = np.random.default_rng([*self._stream, 1]).standard_normal(rows) * self._ease_sd
        luck = np.random.default_rng([*self._stream, *key, 1]).standard_normal(rows) * self._luck_sd
        return (self._quality[key] + ease + luck > 0).astype(float)

    def regret(self, key: tuple[int, int]) -> float:
        """Return how much of the best candidate's accuracy the returned one misses."""
        return float(self.truth.max() - self.truth[key])

    def _answered(self, key: tuple[int, int]) -> np.ndarray:
        if key not in self._answers:
            luck = np.random.default_rng([*self._stream, *key]).standard_normal(VAL_ROWS)
            self._answers[key] = (self._quality[key] + self._ease + self._luck_sd * luck > 0).astype(float)
        return self._answers[key]
