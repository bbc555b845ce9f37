"""From a model's reply to a score: at once, or with a judge's ratings in between. Pure; the caller asks the judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mipro_walk.project.loading import Project
from mipro_walk.project.questions import answer_text
from mipro_walk.project.scorers.base import Graded, Json, UnreadableError, grade
from mipro_walk.project.scorers.judged import SECOND_RATING


@dataclass(frozen=True, slots=True)
class ToJudge:
    """An answer that a judge has to rate.

    Attributes:
        question: chat request for the judge, without a model's name.
        times: how often to ask: twice where the judge's noise is measured.
    """

    answer: str
    question: Json
    times: int


def first_grade(
    project: Project, split: str, seed: int, content: str, calls: Sequence[tuple[str, str]]
) -> Graded | ToJudge:
    """Return the score of a reply, or what to ask the judge.

    ``calls`` are name and arguments of each tool call.

    Raises:
        ScorerError: the scorer failed.
    """
    row = project.rows[split][seed]
    try:
        text = answer_text(content, calls)
        if project.judge is not None:
            answer = project.judge.read_answer(text)
            times = 2 if split == "test" and seed < project.judge.noise_rows else 1
            return ToJudge(answer, project.judge.question(row.query, answer, row.target), times)
    except UnreadableError as exc:
        score, figures = project.scorer.score(None, row.target)
        return Graded(score, None, exc.reason, figures)
    return grade(project.scorer, text, row.target)


def judged_grade(project: Project, asked: ToJudge, answers: Sequence[str]) -> Graded:
    """Return the score from the judge's answers; a second one is only noted, to measure the judge's noise.

    Raises:
        UnreadableError: the first answer holds no rating, so nothing was measured.
    """
    assert project.judge is not None
    score = project.judge.rating(answers[0])
    figures: dict[str, float] = {}
    for answer in answers[1:2]:
        try:
            figures[SECOND_RATING] = project.judge.rating(answer)
        except UnreadableError:
            continue
    return Graded(score, asked.answer, None if score == 1.0 else "not the best rating", figures)
