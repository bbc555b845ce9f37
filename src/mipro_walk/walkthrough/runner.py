"""Takes the user through the steps: forward, back, over, and out, remembering what is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mipro_walk.errors import ConfigError
from mipro_walk.walkthrough.context import Context
from mipro_walk.walkthrough.state import State
from mipro_walk.walkthrough.steps import Introduction, Step
from mipro_walk.walkthrough.steps.configuration import Configuration
from mipro_walk.walkthrough.steps.key import Key
from mipro_walk.walkthrough.steps.prerequisites import Prerequisites
from mipro_walk.walkthrough.steps.results import Results
from mipro_walk.walkthrough.steps.submit import Submit
from mipro_walk.walkthrough.steps.task_app import TaskAppStep
from mipro_walk.walkthrough.ui import Choice, Question, QuitRequested

GO_ON, BACK, SKIP, QUIT = "", "b", "s", "q"


def all_steps() -> tuple[Step, ...]:
    """Return the six steps in their order."""
    return (Prerequisites(), Key(), TaskAppStep(), Configuration(), Submit(), Results())


def run_steps(ctx: Context, steps: Sequence[Step], first: int, last: int = 6) -> dict[str, Mapping[str, Any]]:
    """Run steps ``first`` to ``last`` and return what each left, by title.

    Raises:
        QuitRequested: the user stopped; everything finished is remembered.
    """
    left: dict[str, Mapping[str, Any]] = {}
    number = first
    while number <= last:
        step = steps[number - 1]
        answer = _introduce(ctx, step, len(steps))
        if answer == BACK:
            number -= 1
            continue
        if answer != SKIP:
            left[step.title] = step.run(ctx).data
            ctx.remember(ctx.state.with_completed(number))
        number += 1
    return left


def first_step(ctx: Context, from_step: int | None) -> int:
    """Return where to start: the step that was asked for, the first unfinished one if the user likes, else step 1."""
    if from_step is not None:
        return from_step
    done = ctx.state.completed
    if not done or not ctx.ui.is_interactive:
        return 1
    unfinished = ctx.state.first_unfinished
    if unfinished > len(all_steps()):
        choices = (Choice("6", "see the results again"), Choice("1", "start over"), Choice("q", "quit"))
        answer = ctx.ui.ask(Question("All six steps were done here before.", choices, "6", "--from-step N"))
    else:
        choices = (Choice("c", f"go on at step {unfinished}"), Choice("1", "start over"), Choice("q", "quit"))
        text = f"Steps {', '.join(str(n) for n in done)} are done from an earlier start."
        answer = ctx.ui.ask(Question(text, choices, "c", "--from-step N"))
    if answer == QUIT:
        raise QuitRequested
    if answer == "1":
        ctx.remember(State())
        return 1
    return unfinished if answer == "c" else 6


def require_step(number: int | None) -> None:
    """Raise ConfigError if there is no such step."""
    if number is not None and not 1 <= number <= 6:
        raise ConfigError(f"There is no step {number}.", "Pass --from-step with a number from 1 to 6.")


def _introduce(ctx: Context, step: Step, count: int) -> str:
    """Explain a step and return how to go on with it; choices are settled on the way."""
    while True:
        introduction = step.introduce(ctx)
        _show(ctx, step, introduction, count)
        if not ctx.ui.is_interactive:
            return GO_ON
        extra = step.choices(ctx)
        answer = ctx.ui.ask(Question("", _navigation(ctx, step, extra), GO_ON))
        if answer == QUIT:
            raise QuitRequested
        if answer not in {choice.key for choice in extra}:
            return answer
        step.choose(ctx, answer)


def _show(ctx: Context, step: Step, introduction: Introduction, count: int) -> None:
    ctx.ui.heading(f"Step {step.number} of {count} · {step.title}", f"takes {introduction.takes}")
    ctx.ui.say(introduction.text)
    ctx.ui.fields([("command", introduction.command)])


def _navigation(ctx: Context, step: Step, extra: tuple[Choice, ...]) -> tuple[Choice, ...]:
    back = (Choice(BACK, "back"),) if step.number > 1 else ()
    skip = (Choice(SKIP, "skip"),) if step.may_skip(ctx) else ()
    return (Choice(GO_ON, "go on"), *back, *skip, *extra, Choice(QUIT, "quit"))
