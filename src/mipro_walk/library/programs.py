"""Programs of several prompts: what a program is given, and what is seen of it.

A program is a function of the stages and the query. It asks a stage by its name and goes on with what it answers:

    def program(stages, query):
        words = stages.keywords(query)
        return stages.answer(f"{query} Keywords: {words}")

An ``async`` program awaits its stages. Every call is noted, since demonstrations of a stage can only come from runs in
which the whole program was right.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mipro_walk.prompting import candidate_messages
from mipro_walk.types import Candidate, Demonstration, Message, StageCall, Task

Answer = TypeVar("Answer", str, Awaitable[str])

SINGLE = "answer"
"""What a program calls the only stage of a task of a single prompt."""


@dataclass(frozen=True)
class Prompt(Generic[Answer]):
    """One stage of a candidate, ready to be asked.

    ``await`` it in an ``async`` program; elsewhere it returns the text itself.

    Attributes:
        name: of the stage.
        instruction, demos: what the candidate has for it.
    """

    name: str
    instruction: str
    demos: tuple[Demonstration, ...]
    _ask: Callable[[Prompt[Answer], str], Answer] = field(repr=False)
    _trace: list[StageCall] = field(repr=False)

    def __call__(self, query: str) -> Answer:
        """Ask the policy with this stage's instruction and demonstrations."""
        return self._ask(self, query)

    def messages(self, query: str) -> list[Message]:
        """Return the chat messages that ask ``query``, for programs that ask a model in their own way."""
        return candidate_messages(Candidate(self.instruction, self.demos), query)

    def note(self, query: str, answer: str) -> None:
        """Note what was asked and answered. Only a program that does not call the stage itself needs this."""
        self._trace.append(StageCall(self.name, query, answer))


class Stages(Generic[Answer]):
    """The prompts of a candidate by name: ``stages.keywords(query)`` or ``stages["keywords"](query)``."""

    def __init__(self, prompts: Sequence[Prompt[Answer]]) -> None:
        self._prompts: dict[str, Prompt[Answer]] = {prompt.name: prompt for prompt in prompts}

    def __getattr__(self, name: str) -> Prompt[Answer]:
        """Return a stage by its name."""
        if name.startswith("_") or name not in self._prompts:
            raise AttributeError(f"There is no stage {name!r}; there are {', '.join(self._prompts)}.")
        return self._prompts[name]

    def __getitem__(self, name: str) -> Prompt[Answer]:
        """Return a stage by its name."""
        return self._prompts[name]

    def __iter__(self) -> Iterator[Prompt[Answer]]:
        """Yield the stages in their order."""
        return iter(self._prompts.values())


Program = Callable[[Stages[str], str], str] | Callable[[Stages[Awaitable[str]], str], Awaitable[str]]
"""Answers a query with the stages it is given."""


def stages_of(
    task: Task, candidate: Candidate, ask: Callable[[Prompt[Answer], str], Answer], trace: list[StageCall]
) -> Stages[Answer]:
    """Return the stages of a candidate; calls are noted in ``trace``."""
    names = [stage.name for stage in task.stages] or [SINGLE]
    pairs = zip(names, candidate.prompts, strict=True)
    return Stages([Prompt(name, prompt.instruction, prompt.demos, ask, trace) for name, prompt in pairs])
