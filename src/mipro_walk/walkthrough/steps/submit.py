"""Step 5: submit the job, or go on with an unfinished one, and watch it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mipro_walk.clients.backend import BackendClient
from mipro_walk.config import RunConfig, load_config
from mipro_walk.core.settings import AlgorithmName
from mipro_walk.errors import ConfigError, MiproWalkError
from mipro_walk.forecast import Forecast, cost_in_words, time_in_words
from mipro_walk.loopback import is_loopback
from mipro_walk.walkthrough.context import Context, StepResult
from mipro_walk.walkthrough.keys import environment_key
from mipro_walk.walkthrough.services import launch_of
from mipro_walk.walkthrough.steps import Introduction, PlainStep
from mipro_walk.walkthrough.steps.task_app import ensure_task_app
from mipro_walk.walkthrough.submit_job import (
    UNFINISHED,
    Status,
    TrainResult,
    paid_models,
    resume_and_follow,
    submit_and_follow,
    with_spending_limit,
)
from mipro_walk.walkthrough.ui import Choice, Question

SEARCHES: Mapping[AlgorithmName, str] = {
    "mipro": "First the bootstrap: candidate instructions and sets of demonstrations. Then the search over their "
    "combinations (TPE).",
    "gepa": "First the starting instruction is scored. Then it evolves (GEPA): what it gets wrong on a few rows leads "
    "to a new instruction, and one that does better on them joins the population.",
}


class Submit(PlainStep):
    """Runs the optimization."""

    number = 5
    title = "Optimization"

    def introduce(self, ctx: Context) -> Introduction:
        """Return what is said before the question; with a paid model, what it may cost."""
        expected = ctx.facts.get("forecast")
        takes = time_in_words(expected.seconds) if isinstance(expected, Forecast) else "some minutes"
        text = (
            f"Submits the job to the backend and shows it live. {SEARCHES[_algorithm(ctx)]} At the end baseline and "
            "winner answer test rows that the search has never seen. Ctrl-C pauses; nothing paid is paid again."
        )
        if isinstance(expected, Forecast) and (expected.cost_usd is None or expected.cost_usd[2] > 0):
            text += f" Going on spends money: {cost_in_words(expected.cost_usd)}."
        return Introduction(text, f"mipro-walk train {ctx.workdir.config} --poll", takes)

    def run(self, ctx: Context) -> StepResult:
        """Agree on money, submit or resume, follow, keep the results."""
        unfinished = _unfinished_job(ctx)
        ctx.result = _resume(ctx, unfinished) if unfinished else _submit(ctx)
        ctx.ui.done(f"Job {ctx.result.job_id} ended: {ctx.result.status['status']}")
        return StepResult({"job_id": ctx.result.job_id, "status": ctx.result.status["status"]})


def _algorithm(ctx: Context) -> AlgorithmName:
    """Return whose job it will be; a configuration that cannot be read says so when the step runs."""
    with contextlib.suppress(ConfigError):
        return load_config(ctx.workdir.config).settings.algorithm
    return "mipro"


def _submit(ctx: Context) -> TrainResult:
    config = _agreed_config(ctx)
    app = ensure_task_app(ctx)
    if config.task_app_url != app.url and is_loopback(config.task_app_url):
        config = dataclasses.replace(config, task_app_url=app.url)
    backend = ctx.services.backend()
    backend.register_environment_key(environment_key(ctx.environ, ctx.workdir).value)
    for model in paid_models(config):
        ctx.ui.warn(f"calls to {model} may cost money")
    follow = ctx.follow(backend, ctx.services.started_backend)

    def follow_and_remember(job_id: str) -> Status:
        ctx.remember(dataclasses.replace(ctx.state, job_id=job_id))
        return follow(job_id)

    return submit_and_follow(
        backend,
        config,
        follow=follow_and_remember,
        results_folder=ctx.workdir.results,
        launch=launch_of(app, ctx.data, ctx.workdir.env_key),
    )


def _resume(ctx: Context, status: Mapping[str, Any]) -> TrainResult:
    """Go on with a job as it was submitted: with its task app on its port."""
    url = str(status.get("task_app_url") or "")
    running = ctx.services.task_app()
    port = urlsplit(url).port
    if is_loopback(url) and port and (running is None or running.url != url):
        key = environment_key(ctx.environ, ctx.workdir).value
        ctx.services.start_task_app(key, port, ctx.data, ctx.workdir.task_app_log)
    backend = ctx.services.backend()
    follow = ctx.follow(backend, ctx.services.started_backend)
    return resume_and_follow(backend, str(status["job_id"]), follow=follow, results_folder=ctx.workdir.results)


def _unfinished_job(ctx: Context) -> Mapping[str, Any] | None:
    """Return the job of an earlier start if it can go on and the user wants that; else a new one is made."""
    job_id = ctx.state.job_id
    if not job_id:
        return None
    status = _status(ctx.services.backend(), job_id)
    if status is None or status["status"] not in UNFINISHED:
        return None
    if not ctx.ui.is_interactive:
        ctx.ui.warn(f"Job {job_id} is {status['status']}; a new one is made. To go on: mipro-walk resume {job_id}")
        return None
    text = f"Job {job_id} of an earlier start is {status['status']}. What it paid for is kept."
    choices = (Choice("r", "go on with it"), Choice("n", "new job"))
    return status if ctx.ui.ask(Question(text, choices, "r", "mipro-walk resume")) == "r" else None


def _status(backend: BackendClient, job_id: str) -> Mapping[str, Any] | None:
    with contextlib.suppress(MiproWalkError):  # a ledger that was moved away knows it no more
        return backend.status(job_id)
    return None


def _agreed_config(ctx: Context) -> RunConfig:
    """Return the configuration once somebody agreed to what it may cost."""
    if not ctx.workdir.config.exists():
        raise ConfigError(f"There is no {ctx.workdir.config}.", "Make it first: mipro-walk run --from-step 4")
    return with_spending_limit(
        load_config(ctx.workdir.config),
        max_cost_usd=ctx.options.max_cost_usd,
        # Where the cost was shown, Enter at this step's question was the consent.
        yes=ctx.options.yes or (ctx.ui.is_interactive and "forecast" in ctx.facts),
        is_interactive=ctx.ui.is_interactive,
        confirm=lambda text: _confirm(ctx, text),
    )


def _confirm(ctx: Context, text: str) -> bool:
    return ctx.ui.ask(Question(text, (Choice("y", "yes"), Choice("n", "no")), "n", "--yes")) == "y"
