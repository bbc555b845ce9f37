"""What a task app brings along, and the words both sides share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, get_args

from .schemas import RolloutRequest

Json = dict[str, Any]
OutputMode = Literal["tool_calls", "structured", "text"]
OUTPUT_MODES: Final[tuple[OutputMode, ...]] = get_args(OutputMode)


class PoolError(ValueError):
    """A request asked for a split or slice that cannot be served."""


class TemplateError(ValueError):
    """A prompt in the request cannot be used."""


class ScoringError(Exception):
    """An answer could not be scored: a mistake in the task. Never a score."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call of the model, arguments as the raw text it sent."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What the model answered; `content` is empty when it sent none."""

    content: str
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Rollout:
    """One finished rollout, ready to be written down.

    Attributes:
        query: The row's question as the model saw it.
        score: 0..1.
        predicted: The answer as the task understood it; `None` if there was none.
        reason: Why the score is not 1; `None` when it is.
        figures: Further measures of the same answer by name, each a finite number.
    """

    query: str
    expected: str
    reply: ModelReply
    score: float
    predicted: str | None
    reason: str | None
    figures: Mapping[str, float] = field(default_factory=dict)


Ask = Callable[[Json], Awaitable[ModelReply]]
"""Asks the model at `inference_url`: a chat completion body in, its reply out. Raises `policy.UpstreamFailure`."""


class View(Protocol):
    """A task as one request wants it (a slice of its labels, say)."""

    def task_document(self) -> Json:
        """Return the body of `GET /task_info` without seeds."""
        ...

    def count(self, split: str) -> int:
        """Return the rows of a split. Raises `PoolError` for an unknown one."""
        ...

    def seed_documents(self, split: str, seeds: Sequence[int]) -> list[Json]:
        """Return one TaskInfo for each seed, in the asked order. Seeds are in range."""
        ...

    async def rollout(self, request: RolloutRequest, split: str, mode: OutputMode, ask: Ask, judge: Ask) -> Rollout:
        """Ask the model about one row and score its answer. `judge` asks the model that judges answers.

        Raises:
            TemplateError: the prompt in the request cannot be used.
            UpstreamFailure: a model could not be asked, or gave nothing that can be scored.
            ScoringError: the task's own scoring failed.
        """
        ...


class Service(Protocol):
    """A task: what is said about it, and its views."""

    @property
    def name(self) -> str:
        """Return the id of the task app."""
        ...

    @property
    def environment(self) -> str:
        """Return what its rollouts call their environment."""
        ...

    def info_document(self) -> Json:
        """Return the body of `GET /info`."""
        ...

    def view(self, num_intents: int | None) -> View:
        """Return the task, or its first `num_intents` labels. Raises `PoolError`."""
        ...
