"""The task as `task_apps.serving` serves it; the routes and answers are described there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI

from task_apps.serving.app import create_app as serve_service
from task_apps.serving.contract import Ask, Json, OutputMode, Rollout
from task_apps.serving.documents import completion_body
from task_apps.serving.schemas import RolloutRequest
from task_apps.serving.settings import Settings

from . import documents
from .data import TaskData, TaskSlice
from .prompts import answer_form, build_messages
from .scoring import score_reply
from .sources import DataSource, load_task_data

SAMPLE: Final = DataSource()


def create_app(settings: Settings, data: TaskData | None = None) -> FastAPI:
    """Build the application; loads the shipped sample unless rows are given.

    Raises:
        DataError: if the rows cannot be read.
    """
    return serve_service(settings, Banking77(data if data is not None else load_task_data(SAMPLE)))


@dataclass(frozen=True, slots=True)
class Banking77:
    """The service: Banking77 over some rows."""

    data: TaskData
    name: str = documents.TASK_APP_ID
    environment: str = documents.ENVIRONMENT

    def info_document(self) -> Json:
        """Body of `GET /info`."""
        return documents.info_document(self.data)

    def view(self, num_intents: int | None) -> SliceView:
        """Return the task on its first labels."""
        return SliceView(self.data, self.data.slice(num_intents))


@dataclass(frozen=True, slots=True)
class SliceView:
    """Banking77 restricted to some of its labels."""

    data: TaskData
    slice: TaskSlice

    def task_document(self) -> Json:
        """Body of `GET /task_info` without seeds."""
        return documents.task_document(self.data, self.slice)

    def count(self, split: str) -> int:
        """Rows of a split."""
        return len(self.slice.pool(split).rows)

    def seed_documents(self, split: str, seeds: Sequence[int]) -> list[Json]:
        """One TaskInfo for each seed."""
        return documents.seed_documents(self.data, self.slice, split, seeds)

    async def rollout(self, request: RolloutRequest, split: str, mode: OutputMode, ask: Ask, judge: Ask) -> Rollout:
        """Ask about one row and score the answer; nothing here needs a judge."""
        row, labels = self.slice.pool(split).rows[request.env.seed], self.slice.labels
        messages = build_messages(request.policy.config, mode, row.text, labels)
        reply = await ask(completion_body(request, messages, answer_form(mode, labels)))
        score = score_reply(reply, row.label, labels, mode)
        return Rollout(row.text, row.label, reply, score.reward, score.predicted, score.reason)
