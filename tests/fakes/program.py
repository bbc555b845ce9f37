"""A scripted program of two stages: each is right by a fixed function of its instruction, demonstrations and question.

A query such as ``"3 + 4 mi zu"`` is solved by naming the digits first and adding them then. The program is right only
where both stages are.
"""

from __future__ import annotations

from collections.abc import Sequence

from mipro_walk.prompting import candidate_messages
from mipro_walk.types import Example, Message, Outcome, Rollout, Stage, StageCall, Task
from tests.fakes.landscape import sentence, unit

FIND, ADD = Stage("find", "Find the digits."), Stage("add", "Add them.")


def make_program_task(train: int = 60, val: int = 80, test: int = 100) -> Task:
    """Return a task of two stages; the right answers are sums of two digits."""

    def rows(split: str, count: int) -> list[Example]:
        digits = [(int(unit(split, i, "a") * 5), int(unit(split, i, "b") * 5)) for i in range(count)]
        return [Example(i, f"{sentence(split, i)} {a} and {b}", str(a + b)) for i, (a, b) in enumerate(digits)]

    return Task(
        name="sums",
        description="Add the digits of a sentence.",
        instruction=FIND.instruction,
        train=rows("train", train),
        val=rows("val", val),
        test=rows("test", test),
        dataset_hash="sums-1",
        stages=(FIND, ADD),
    )


def model(messages: list[Message]) -> str:
    """Answer a question of either stage: right or wrong, but always the same."""
    system, query = messages[0]["content"], messages[-1]["content"]
    demos = "|".join(message["content"] for message in messages[1:-1])
    is_right = unit("luck", query) < skill(system, demos)
    if " and " in query:
        a, b = query.split()[-3], query.split()[-1]
        return f"{a} {b}" if is_right else f"{a} 0 0"
    numbers = [int(word) for word in query.split()]
    return str(sum(numbers)) if is_right else "99"


def skill(instruction: str, demos: str) -> float:
    """Return how often a prompt of either stage is right."""
    return 0.5 + 0.3 * unit("instruction", instruction) + (0.1 + 0.1 * unit("demos", demos) if demos else 0.0)


class ProgramLandscape:
    """An evaluator of the program, with traces; keeps its rollouts."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.history: list[Rollout] = []

    def evaluate(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """Run and score rollouts."""
        self.history += rollouts
        return [self._run(rollout) for rollout in rollouts]

    def _run(self, rollout: Rollout) -> Outcome:
        row = self.task.rows(rollout.split)[rollout.seed]
        text, trace = row.query, []
        for stage, prompt in zip(self.task.stages, rollout.candidate.prompts, strict=True):
            answer = model(candidate_messages(prompt, text))
            trace.append(StageCall(stage.name, text, answer))
            text = answer
        is_right = text == row.label
        return Outcome(float(is_right), text, "" if is_right else "wrong", trace=tuple(trace))
