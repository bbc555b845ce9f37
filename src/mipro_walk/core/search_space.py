"""What is searched: instructions × demonstration sets, as two indices for each stage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from mipro_walk.types import Candidate, Demonstration

InstructionSource = Literal["baseline", "meta-model", "built-in"]
Key = tuple[int, ...]
"""Names a candidate: instruction index and demo set index, of a program of several stages for each in turn."""


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
class StageSpace:
    """What one stage chooses from. Index 0 is the baseline: its instruction, no demonstrations.

    ``name`` is the stage's; empty where the task is a single prompt.
    """

    instructions: Sequence[Instruction]
    demo_sets: Sequence[DemoSet]
    name: str = ""

    @property
    def sizes(self) -> tuple[int, int]:
        """How many instructions and how many demonstration sets there are."""
        return len(self.instructions), len(self.demo_sets)

    def widened(self, instructions: Sequence[Instruction], demo_sets: Sequence[DemoSet]) -> StageSpace:
        """Return the stage with more on both axes; what is there keeps its index."""
        return StageSpace([*self.instructions, *instructions], [*self.demo_sets, *demo_sets], self.name)


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Every combination of what the stages choose. Key 0, 0, … is the baseline."""

    stages: Sequence[StageSpace]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of levels of each axis, in the order of a key."""
        return tuple(size for stage in self.stages for size in stage.sizes)

    @property
    def size(self) -> int:
        """Number of candidates."""
        return math.prod(self.sizes)

    @property
    def baseline_key(self) -> Key:
        """Key of the candidate we start from."""
        return (0,) * len(self.sizes)

    def candidate(self, key: Key) -> Candidate:
        """Return the candidate that ``key`` names."""
        first, *further = (
            Candidate(stage.instructions[instruction].text, stage.demo_sets[demo_set].demos)
            for stage, (instruction, demo_set) in zip(self.stages, by_stage(key), strict=True)
        )
        return Candidate(first.instruction, first.demos, tuple(further))

    def __iter__(self) -> Iterator[Key]:
        """Yield every key, the last axis fastest."""
        return product(*map(range, self.sizes))

    def describe(self, key: Key) -> str:
        """Return a key in words: ``instruction 3, demo set 5``."""
        parts = [f"instruction {instruction}, demo set {demo_set}" for instruction, demo_set in by_stage(key)]
        names = [f"{stage.name}: " if stage.name else "" for stage in self.stages]
        return "; ".join(name + part for name, part in zip(names, parts, strict=True))


def key_as_dict(key: Key, prefix: str = "") -> dict[str, Any]:
    """Return a key as events and documents name it; with several stages all of it stands under ``key``, too.

    >>> key_as_dict((3, 5), "best_")
    {'best_instruction': 3, 'best_demo_set': 5}
    """
    all_stages = {f"{prefix}key": list(key)} if len(key) > 2 else {}
    return {f"{prefix}instruction": key[0], f"{prefix}demo_set": key[1], **all_stages}


def by_stage(key: Key) -> list[tuple[int, int]]:
    """Return ``(instruction index, demo set index)`` of each stage.

    >>> by_stage((3, 5, 0, 2))
    [(3, 5), (0, 2)]
    """
    return list(zip(key[::2], key[1::2], strict=True))
