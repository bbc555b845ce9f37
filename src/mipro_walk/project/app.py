"""A project as a task app: the contract of ``docs/task-app-api.md``, served by ``task_apps.serving``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from mipro_walk.errors import MiproWalkError
from mipro_walk.project.grading import ToJudge, first_grade, judged_grade
from mipro_walk.project.loading import PINNED, Project
from mipro_walk.project.questions import answer_fields, question_messages
from mipro_walk.project.scorers.base import Graded, UnreadableError
from mipro_walk.project.scorers.judged import unreadable_rating
from task_apps.serving.app import create_app as serve_service
from task_apps.serving.contract import OUTPUT_MODES, Ask, Json, OutputMode, PoolError, Rollout, ScoringError
from task_apps.serving.documents import DEFAULT_SPLIT, LIMITS, completion_body
from task_apps.serving.policy import UpstreamFailure
from task_apps.serving.schemas import RolloutRequest
from task_apps.serving.settings import Settings
from task_apps.serving.templates import given_messages

VERSION = "1"


def create_app(settings: Settings, project: Project) -> FastAPI:
    """Build the application that serves a project."""
    return serve_service(settings, ProjectService(project))


@dataclass(frozen=True, slots=True)
class ProjectService:
    """A project behind the contract. It has one view: its labels are not sliced."""

    project: Project

    @property
    def name(self) -> str:
        """The task's name."""
        return self.project.definition.task.name

    @property
    def environment(self) -> str:
        """The task's name."""
        return self.name

    def info_document(self) -> Json:
        """Body of `GET /info`."""
        return {
            "service": {"task": self._task(), "version": VERSION},
            "dataset": self._dataset(),
            "rubrics": self._rubric(),
            "inference": {"output_modes": list(OUTPUT_MODES)},
            "limits": LIMITS,
        }

    def view(self, num_intents: int | None) -> ProjectService:
        """Return this. Raises PoolError if a part of the labels is wanted."""
        if num_intents is not None:
            raise PoolError("num_intents means nothing for this task. Leave it out of env_config.")
        return self

    def task_document(self) -> Json:
        """Body of `GET /task_info` without seeds."""
        project, definition = self.project, self.project.definition
        document: Json = {
            "task_app_id": self.name,
            "dataset_size": len(project.rows["test"]),
            "kind": definition.kind,
            "metric": definition.metric,
            "labels": list(project.labels),
            "splits": {
                split: {"rows": len(project.rows[split]), "sha256": sha256}
                for split, sha256 in project.split_hashes.items()
            },
            "source": {"name": "project", "detail": project.source, "licence": "", "notes": self._notes()},
            "task": self._task(),
            "prompt": {
                "instruction": definition.instruction,
                "fixed": list(definition.fixed),
                "messages": self._patterns("tool_calls"),
                "text_messages": self._patterns("text"),
            },
            "output_modes": list(OUTPUT_MODES),
            "default_split": DEFAULT_SPLIT,
            "taskset": self._dataset(),
        }
        if project.judge is not None:
            document["judge"] = {"noise_rows": project.judge.noise_rows}
        return document

    def count(self, split: str) -> int:
        """Rows of a split."""
        if split not in self.project.rows:
            raise PoolError(f"Unknown split {split!r}. Use one of: {', '.join(self.project.rows)}.")
        return len(self.project.rows[split])

    def seed_documents(self, split: str, seeds: Sequence[int]) -> list[Json]:
        """One TaskInfo for each seed."""
        common = {
            "task": self._task(),
            "environment": self.environment,
            "dataset": self._dataset(),
            "rubric": self._rubric(),
            "inference": {"model": None, "inference_url": None},
            "limits": LIMITS,
        }
        rows = [(seed, self.project.rows[split][seed]) for seed in seeds]
        return [
            {
                **common,
                "task_metadata": {
                    "seed": seed,
                    "split": split,
                    "query": row.query,
                    "label": row.label,
                    "row": row.number,
                },
            }
            for seed, row in rows
        ]

    async def rollout(self, request: RolloutRequest, split: str, mode: OutputMode, ask: Ask, judge: Ask) -> Rollout:
        """Ask about one row and score the answer."""
        project, seed = self.project, request.env.seed
        row = project.rows[split][seed]
        messages = given_messages(request.policy.config, row.query, project.labels) or question_messages(
            project.definition.instruction, project.form, row.query, mode
        )
        reply = await ask(completion_body(request, messages, answer_fields(project.form, mode)))
        calls = [(call.name, call.arguments) for call in reply.tool_calls]
        try:
            graded = first_grade(project, split, seed, reply.content, calls)
            if isinstance(graded, ToJudge):
                graded = await _ask_judge(project, graded, request, judge)
        except MiproWalkError as exc:
            raise ScoringError(exc.message) from exc
        return Rollout(row.query, row.target, reply, graded.score, graded.predicted, graded.reason, graded.figures)

    def _patterns(self, mode: OutputMode) -> list[dict[str, str]]:
        messages = question_messages(self.project.definition.instruction, self.project.form, "{query}", mode)
        return [{"role": message["role"], "pattern": message["content"]} for message in messages]

    def _task(self) -> Json:
        return {
            "id": self.name,
            "name": self.name,
            "description": self.project.description,
            "version": VERSION,
        }

    def _dataset(self) -> Json:
        return {
            "id": self.name,
            "name": self.name,
            "version": self.project.identity[:16],
            "splits": [split for split in self.project.rows if split != PINNED],
            "default_split": DEFAULT_SPLIT,
            "num_labels": len(self.project.labels),
        }

    def _rubric(self) -> Json:
        definition = self.project.definition
        criteria = definition.scoring.rubric or f"{definition.kind}: {definition.metric}"
        return {"outcome": {"name": definition.kind, "criteria": criteria}, "events": None}

    def _notes(self) -> list[str]:
        return [finding.text for finding in self.project.findings]


async def _ask_judge(project: Project, asked: ToJudge, request: RolloutRequest, judge: Ask) -> Graded:
    body: dict[str, Any] = {**asked.question, "model": request.policy.config.model}
    answers = [(await judge(body)).content for _ in range(asked.times)]
    try:
        return judged_grade(project, asked, answers)
    except UnreadableError as exc:
        raise UpstreamFailure(502, "upstream_garbage", unreadable_rating(exc)) from None
