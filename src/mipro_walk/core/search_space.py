"""What is searched: instructions × demonstration sets, as two indices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from mipro_walk.types import Candidate, Demonstration

InstructionSource = Literal["baseline", "meta-model", "built-in"]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction and where it comes from."""

    text: str
    source: InstructionSource
    bootstrap_seed: int | None = None


@dataclass(frozen=True, slots=True)
class DemoSet:
    """One demonstration set, the rows it is made of and how it was built."""

    demos: tuple[Demonstration, ...]
    seeds: tuple[int, ...]
    builder: str


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Index 0 of both axes is the baseline: its instruction, no demonstrations."""

    instructions: Sequence[Instruction]
    demo_sets: Sequence[DemoSet]

    def widened(self, instructions: Sequence[Instruction], demo_sets: Sequence[DemoSet]) -> SearchSpace:
        """Return the space with more on both axes; what is there keeps its index."""
        return SearchSpace([*self.instructions, *instructions], [*self.demo_sets, *demo_sets])

    def candidate(self, key: tuple[int, int]) -> Candidate:
        """Return the candidate at ``(instruction index, demo set index)``."""
        return Candidate(self.instructions[key[0]].text, self.demo_sets[key[1]].demos)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield every key, instruction by instruction."""
        return product(range(len(self.instructions)), range(len(self.demo_sets)))

    @property
    def size(self) -> int:
        """Number of candidates."""
        return len(self.instructions) * len(self.demo_sets)


BASELINE = (0, 0)
"""Key of the candidate we start from."""
