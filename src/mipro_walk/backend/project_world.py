"""A project without HTTP: its rows, question and scoring are called directly, its judge through the judge's gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipro_walk.backend.interceptor import RolloutPolicy, trial_request
from mipro_walk.backend.world import GatewayWorld, cannot_ask, limits_of, pools_of, rows_identity, seeds_of
from mipro_walk.clients.replies import CallFailed
from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError
from mipro_walk.project.grading import ToJudge, first_grade, judged_grade
from mipro_walk.project.loading import PINNED, Project
from mipro_walk.project.questions import answer_fields, question_messages
from mipro_walk.project.scorers.base import Graded, UnreadableError
from mipro_walk.project.scorers.judged import unreadable_rating
from mipro_walk.types import Example, Outcome, Rollout, Split, Task, fingerprint

MAX_ANSWER_CHARS = 500


@dataclass
class ProjectWorld(GatewayWorld):
    """See the module."""

    project: Project

    def load_task(self) -> Task:
        """Return the project's task with the rows of the three pools, and its pinned ones."""
        project, definition = self.project, self.project.definition
        if "num_intents" in self.config.env_config:
            raise ConfigError("env_config.num_intents means nothing for this task.", "Leave it out.")
        rows = {name: self._rows(name) for name in pools_of(self.config)}
        return Task(
            name=definition.task.name,
            description=project.description,
            instruction=self._baseline,
            train=rows["train"],
            val=rows["val"],
            test=rows["test"],
            labels=project.labels,
            dataset_hash=rows_identity(fingerprint(project.split_hashes), rows),
            kind=definition.kind,
            fixed=definition.fixed,
            pinned=[row.as_example(seed) for seed, row in enumerate(project.pinned)],
        )

    def source(self) -> str:
        """Return where the rows come from, in the words of the task app."""
        return f"project: {self.project.source}"

    def needs_judge(self) -> bool:
        """Return whether a judge scores the answers."""
        return self.project.judge is not None

    def run_rollout(self, rollout: Rollout) -> Outcome:
        """Ask the policy model about one row with the candidate's prompt, and score the answer."""
        self.wishes.raise_if_paused()
        project, policy = self.project, self.config.policy
        split = self._split(rollout.split)
        row = project.rows[split][rollout.seed]
        question = {
            "messages": question_messages(self._baseline, project.form, row.query, policy.output_mode),
            **answer_fields(project.form, policy.output_mode),
        }
        how = RolloutPolicy(policy.temperature, policy.max_completion_tokens)
        request = trial_request(question, rollout.candidate, self._baseline, how)
        try:
            who = "model"
            completion = self.policy.complete_sync(request, rollout.tag)
            graded = first_grade(project, split, rollout.seed, *_content_and_calls(completion))
            if isinstance(graded, ToJudge):
                who = "judge's"
                graded = self._judged(graded)
        except UnreadableError as exc:
            return Outcome(None, None, unreadable_rating(exc))
        except CallFailed as failure:
            self.wishes.raise_if_paused()
            for name, gateway in (("policy model", self.policy), ("judge", self.judge)):
                if gateway.fatal_failure is not None:
                    raise cannot_ask(name, failure) from failure
            return Outcome(None, None, f"the {who} call failed: {failure.reason}")
        self.note_request(rollout, row.query, self.policy.as_sent(request))
        predicted = None if graded.predicted is None else graded.predicted[:MAX_ANSWER_CHARS]
        return Outcome(graded.score, predicted, graded.reason or "", graded.figures)

    def _judged(self, asked: ToJudge) -> Graded:
        body = {**asked.question, "model": self.judge.endpoint.model}
        completions = [self.judge.complete_sync(body, "judge") for _ in range(asked.times)]
        return judged_grade(self.project, asked, [_content_and_calls(completion)[0] for completion in completions])

    @property
    def _baseline(self) -> str:
        return self.config.baseline_instruction or self.project.definition.instruction

    def _split(self, name: Split) -> str:
        return PINNED if name == PINNED else pools_of(self.config)[name].split or "train"

    def _rows(self, name: Split) -> list[Example]:
        pool, split = pools_of(self.config)[name], self._split(name)
        rows: Sequence[Any] = self.project.rows.get(split, ())
        if not rows:
            raise ConfigError(f"The task has no split {split!r}.", f"Use one of: {', '.join(self.project.rows)}.")
        seeds = seeds_of(pool, len(rows), limits_of(self.config)[name])
        if outside := [seed for seed in seeds if seed >= len(rows)]:
            raise ConfigError(
                f"Seed {outside[0]} is out of range: {split} has {counted(len(rows), 'row')}.",
                "Use seeds below that number.",
            )
        return [rows[seed].as_example(seed) for seed in seeds]


def _content_and_calls(completion: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """Return text and tool calls (name, arguments) of a checked completion."""
    message = completion["choices"][0]["message"]
    content = message.get("content")
    functions = [call.get("function") or {} for call in message.get("tool_calls") or [] if isinstance(call, dict)]
    return (
        content if isinstance(content, str) else "",
        [(str(function.get("name")), str(function.get("arguments"))) for function in functions],
    )
