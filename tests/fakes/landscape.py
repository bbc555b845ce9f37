"""A scripted task: how often a candidate is right is a fixed function of instruction, demonstrations and row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mipro_walk.core.proposer import ProposalRequest
from mipro_walk.core.search_space import Instruction
from mipro_walk.types import Candidate, Example, Outcome, Rollout, Task

LABELS = ("card", "cash", "pin", "transfer", "refund")


def unit(*parts: object) -> float:
    """Return a number in 0..1 that depends on ``parts`` alone."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def sentence(*parts: object) -> str:
    """Return six made-up words that depend on ``parts`` alone, so that no two rows resemble each other."""
    syllables = ("ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zu")
    return " ".join("".join(syllables[int(unit(*parts, word, place) * 10)] for place in range(3)) for word in range(6))


def make_task(train: int = 40, val: int = 60, test: int = 100) -> Task:
    """Return a task of five labels with rows that no two splits share."""

    def rows(split: str, count: int) -> list[Example]:
        return [Example(i, sentence(split, i), LABELS[i % 5]) for i in range(count)]

    return Task(
        name="scripted",
        description="Sort questions.",
        instruction="Sort the question.",
        train=rows("train", train),
        val=rows("val", val),
        test=rows("test", test),
        labels=LABELS,
        dataset_hash="scripted-1",
    )


class Landscape:
    """An evaluator with a known truth; keeps every rollout it was asked for in ``history``."""

    def __init__(self, base: float = 0.2, demo_gain: float = 0.4, instruction_gain: float = 0.2) -> None:
        self.base = base
        self.demo_gain = demo_gain
        self.instruction_gain = instruction_gain
        self.history: list[Rollout] = []
        self.broken: set[tuple[str, int]] = set()

    def accuracy(self, candidate: Candidate) -> float:
        """Return the true accuracy of a candidate."""
        demos = self.demo_gain * (0.5 + 0.5 * unit("demos", *candidate.demos)) if candidate.demos else 0.0
        instruction = self.instruction_gain * unit("instruction", candidate.instruction)
        return min(1.0, self.base + demos + instruction)

    def outcome(self, rollout: Rollout) -> Outcome:
        """Return how one rollout ends."""
        if (rollout.split, rollout.seed) in self.broken:
            return Outcome(None, None, "scripted failure")
        right = unit("row", rollout.split, rollout.seed) < self.accuracy(rollout.candidate)
        return Outcome(1.0 if right else 0.0, "card" if right else "pin", "" if right else "wrong")

    def evaluate(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """Score rollouts."""
        self.history += rollouts
        return [self.outcome(rollout) for rollout in rollouts]

    def __call__(self, rollout: Rollout) -> Outcome:
        """Score one rollout, as a runner under a recorded evaluator."""
        return self.evaluate([rollout])[0]


class ScriptedProposer:
    """Writes numbered instructions; keeps its requests."""

    def __init__(self) -> None:
        self.requests: list[ProposalRequest] = []

    def propose(self, request: ProposalRequest) -> list[Instruction]:
        """Return ``count`` instructions that differ by round and number."""
        self.requests.append(request)
        stage = f" in stage {request.stage}" if request.stage else ""
        return [
            Instruction(f"Instruction {i} of round {request.bootstrap_seed}: sort it well{stage}.", "meta-model")
            for i in range(request.count)
        ]
