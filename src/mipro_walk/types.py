"""The nouns of the project: frozen data that every part shares. Imports nothing of the project."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Split = Literal["train", "val", "test", "pinned"]
"""``pinned`` rows belong to no pool: they are scored once, at the end, and must not get worse."""
Message = dict[str, Any]
"""One chat message as the OpenAI API has it: ``{"role": ..., "content": ...}``."""


def fingerprint(value: object) -> str:
    """Return the SHA-256 (64 hex characters) of ``value`` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One solved example that is shown to the policy model."""

    query: str
    label: str


@dataclass(frozen=True, slots=True)
class Example:
    """Row ``seed`` of a split: its input text and the right answer."""

    seed: int
    query: str
    label: str

    def as_demonstration(self) -> Demonstration:
        """Return the row as something that can be shown."""
        return Demonstration(self.query, self.label)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One instruction with one demonstration set: what a trial scores.

    A program of several stages has one prompt for each: ``further`` holds those after the first stage.
    """

    instruction: str
    demos: tuple[Demonstration, ...] = ()
    further: tuple[Candidate, ...] = ()

    @property
    def prompts(self) -> tuple[Candidate, ...]:
        """The prompts by stage; of a single prompt the candidate alone."""
        return (Candidate(self.instruction, self.demos), *self.further)

    @property
    def prompt_hash(self) -> str:
        """SHA-256 over the instructions and the demonstrations in their order."""
        further = [prompt.prompt_hash for prompt in self.further]
        return fingerprint([self.instruction, [[d.query, d.label] for d in self.demos], *further])


@dataclass(frozen=True, slots=True)
class Rollout:
    """A request: ask the policy model, with ``candidate``, about row ``seed`` of ``split``."""

    candidate: Candidate
    split: Split
    seed: int

    @property
    def tag(self) -> str:
        """What its model calls are filed under: split, seed and prompt, at most 80 characters."""
        return f"{self.split}/{self.seed}/{self.candidate.prompt_hash}"


@dataclass(frozen=True, slots=True)
class StageCall:
    """One question to a stage of a program, and its answer."""

    stage: str
    query: str
    answer: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one rollout ended.

    Attributes:
        score: 0..1, higher is better; ``None`` means *unknown*: the call failed, nothing was measured.
        predicted: the answer as the task understood it; ``None`` if there was none.
        reason: why it is not right, or why it is unknown; empty when right.
        figures: further measures of the same answer by name, such as ``{"exact": 0.0, "f1": 0.5}``.
        trace: of a program of several stages, what each was asked and answered, in the order of the calls.
    """

    score: float | None
    predicted: str | None = None
    reason: str = ""
    figures: Mapping[str, float] = field(default_factory=dict, hash=False)
    trace: tuple[StageCall, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether this rollout measured something."""
        return self.score is not None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_dict` reads. A single prompt has no trace, and none stands there."""
        data = asdict(self)
        trace = data.pop("trace")
        return {**data, "trace": list(trace)} if trace else data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Outcome:
        """Return the outcome that :meth:`as_dict` gave."""
        trace = tuple(StageCall(**call) for call in data.get("trace", ()))
        return cls(**{**data, "trace": trace})


@dataclass(frozen=True, slots=True)
class Usage:
    """What calls consumed. ``cost_usd`` is ``None`` when any price in it is unknown."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = 0.0

    def __add__(self, other: Usage) -> Usage:
        known = self.cost_usd is not None and other.cost_usd is not None
        cost = (self.cost_usd or 0.0) + (other.cost_usd or 0.0) if known else None
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            cost,
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """One prompt of a program of several: its name and the instruction to improve."""

    name: str
    instruction: str


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be solved, as the optimizer sees it.

    Attributes:
        name: short identifier.
        description: one or two sentences for the meta-model.
        instruction: the baseline instruction (the system text to improve).
        labels: possible answers, in a fixed order; empty for free answers.
        train: rows for demonstrations and bootstrap.
        val: rows the search scores candidates on, in the order in which they are used.
        test: rows that are scored once, at the end.
        dataset_hash: identifies the rows; part of every rollout's identity.
        kind: what an answer is (``classification``, ``rating``, …); empty if it is not said.
        fixed: texts that every instruction must hold, byte for byte.
        pinned: rows that must not get worse; in no pool, scored beside the test.
        stages: the prompts of a program of several, in their order; ``instruction`` is that of the first. Empty for
            a task of a single prompt.
    """

    name: str
    description: str
    instruction: str
    train: Sequence[Example]
    val: Sequence[Example]
    test: Sequence[Example]
    labels: Sequence[str] = ()
    dataset_hash: str = ""
    kind: str = ""
    fixed: Sequence[str] = ()
    pinned: Sequence[Example] = ()
    stages: Sequence[Stage] = ()

    @property
    def baseline(self) -> Candidate:
        """The candidate we start from: every instruction as it is, no demonstrations."""
        return Candidate(self.instruction, (), tuple(Candidate(stage.instruction) for stage in self.stages[1:]))

    def rows(self, split: Split) -> Sequence[Example]:
        """Return the rows of one split."""
        return {"train": self.train, "val": self.val, "test": self.test, "pinned": self.pinned}[split]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for whoever shows or stores it. ``message`` is what a person reads."""

    type: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)
    level: Literal["info", "warning", "error"] = "info"
