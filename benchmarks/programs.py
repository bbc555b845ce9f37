"""Simulated programs of two stages with a known truth: (instructions × demonstration sets) of each stage.

Every instruction and every set of either stage has a main effect, each normal; ``truth[i1, d1, i2, d2]`` is the
accuracy of the whole program. What the stages have to do with each other is the family's: see ``ProgramFamily``. Rows
are easy or hard, and candidates lucky or unlucky on them, as in ``landscapes.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from landscapes import START, VAL_ROWS, Key, Known

INSTRUCTION_SD = 0.03
DEMO_SET_SD = 0.04
ROW_SHARE = 0.6
MISMATCH = 0.10
"""What a program loses whose second stage expects another form than the first one writes."""


@dataclass(frozen=True)
class ProgramFamily:
    """How the accuracy of a program follows from its stages; without any of these their effects add.

    Attributes:
        all_right: each stage is right or wrong of its own, and the program is right on rows where both are.
        pair: what one part of the first stage and one of the second are worth beside each other, and not alone.
        forms: what each form is worth in which the stages can hand over; every instruction has one, and a program
            whose instructions differ in it loses ``MISMATCH``. Empty: form does not matter.
    """

    name: str
    all_right: bool = False
    pair: float = 0.0
    forms: tuple[float, ...] = ()


PROGRAM_FAMILIES = (
    ProgramFamily("additive"),
    ProgramFamily("both right", all_right=True),
    ProgramFamily("pair", pair=0.15),
    ProgramFamily("forms", forms=(0.0, 0.05, 0.10)),
)


class Program(Known):
    """One drawn program."""

    def __init__(self, family: ProgramFamily, sizes: tuple[int, int, int, int], seed: int) -> None:
        number = PROGRAM_FAMILIES.index(family)
        rng = np.random.default_rng([seed, number, *sizes])
        effects = [
            _along(axis, sd * _from_zero(rng.standard_normal(size)))
            for axis, (size, sd) in enumerate(zip(sizes, (INSTRUCTION_SD, DEMO_SET_SD) * 2, strict=True))
        ]
        first, second = effects[0] + effects[1], effects[2] + effects[3]
        if family.all_right:
            judged = [math.sqrt(START) + first, math.sqrt(START) + second]
        else:
            judged = [START + first + second + _together(family, sizes, rng)]
        self._judged = [np.clip(accuracy, 0.02, 0.98) for accuracy in judged]
        super().__init__(math.prod(self._judged[1:], start=self._judged[0]))
        self._ease = [math.sqrt(ROW_SHARE) * rng.standard_normal(VAL_ROWS) for _ in judged]
        self._stream = [seed, number, *sizes]

    def _answered(self, key: Key) -> np.ndarray:
        right = np.ones(VAL_ROWS, bool)
        for number, (accuracy, ease) in enumerate(zip(self._judged, self._ease, strict=True)):
            # What is judged by itself knows nothing of the other stage, so neither does its luck.
            own = tuple(level if size > 1 else 0 for level, size in zip(key, accuracy.shape, strict=True))
            luck = np.random.default_rng([*self._stream, number, *own]).standard_normal(VAL_ROWS)
            quality = NormalDist().inv_cdf(float(accuracy[own]))
            right &= quality + ease + math.sqrt(1 - ROW_SHARE) * luck > 0
        return right.astype(float)


def _together(family: ProgramFamily, sizes: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return what the stages are worth beside each other, nothing for the start."""
    worth = np.zeros(sizes)
    if family.pair:
        axes = int(rng.integers(2)), int(rng.integers(2, 4))
        place: list[slice | int] = [slice(None)] * len(sizes)
        for axis in axes:
            place[axis] = int(rng.integers(1, sizes[axis]))
        worth[tuple(place)] = family.pair
    if family.forms:
        writes, reads = (_along(a, _from_zero(rng.integers(len(family.forms), size=sizes[a]))) for a in (0, 2))
        worth = worth + np.where(writes == reads, np.array(family.forms)[writes], -MISMATCH)
    return worth


def _along(axis: int, values: np.ndarray) -> np.ndarray:
    """Return the values as an array of four axes that varies along one of them."""
    return values.reshape([-1 if a == axis else 1 for a in range(4)])


def _from_zero(values: np.ndarray) -> np.ndarray:
    """Return the values with that of the baseline's level set to 0."""
    values[0] = 0
    return values
