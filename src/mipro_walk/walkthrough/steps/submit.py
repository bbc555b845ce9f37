"""Step 5: submit the job and watch it."""

from __future__ import annotations

import dataclasses

from mipro_walk.clients.http import is_loopback
from mipro_walk.config import RunConfig, load_config
from mipro_walk.errors import ConfigError
from mipro_walk.walkthrough.context import Context, StepResult
from mipro_walk.walkthrough.estimate import Estimate, cost_in_words, time_in_words
from mipro_walk.walkthrough.keys import environment_key
from mipro_walk.walkthrough.services import launch_of
from mipro_walk.walkthrough.steps import Introduction, PlainStep
from mipro_walk.walkthrough.steps.task_app import ensure_task_app
from mipro_walk.walkthrough.submit_job import Status, paid_models, submit_and_follow, with_spending_limit
from mipro_walk.walkthrough.ui import Choice, Question


class Submit(PlainStep):
    """Runs the optimization."""

    number = 5
    title = "Optimization"

    def introduce(self, ctx: Context) -> Introduction:
        """Return what is said before the question; with a paid model, what it may cost."""
        expected = ctx.facts.get("estimate")
        takes = time_in_words(expected.seconds) if isinstance(expected, Estimate) else "some minutes"
        text = (
            "Submits the job to the backend and shows it live. First the bootstrap: candidate instructions and sets "
            "of demonstrations. Then the search over their combinations (TPE). At the end baseline and winner answer "
            "test rows that the search has never seen. Ctrl-C pauses; nothing that was paid is paid again."
        )
        if isinstance(expected, Estimate) and (expected.cost_usd is None or expected.cost_usd[2] > 0):
            text += f" Going on spends money: {cost_in_words(expected.cost_usd)}."
        return Introduction(text, f"mipro-walk train {ctx.workdir.config} --poll", takes)

    def run(self, ctx: Context) -> StepResult:
        """Agree on money, submit, follow, keep the results."""
        config = self._config(ctx)
        config = with_spending_limit(
            config,
            max_cost_usd=ctx.options.max_cost_usd,
            # Where the cost was shown, Enter at this step's question was the consent.
            yes=ctx.options.yes or (ctx.ui.is_interactive and "estimate" in ctx.facts),
            is_interactive=ctx.ui.is_interactive,
            confirm=lambda text: _confirm(ctx, text),
        )
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

        ctx.result = submit_and_follow(
            backend,
            config,
            follow=follow_and_remember,
            results_folder=ctx.workdir.results,
            launch=launch_of(app, ctx.data, ctx.workdir.env_key),
        )
        ctx.ui.done(f"Job {ctx.result.job_id} ended: {ctx.result.status['status']}")
        return StepResult({"job_id": ctx.result.job_id, "status": ctx.result.status["status"]})

    @staticmethod
    def _config(ctx: Context) -> RunConfig:
        if not ctx.workdir.config.exists():
            raise ConfigError(f"There is no {ctx.workdir.config}.", "Make it first: mipro-walk run --from-step 4")
        return load_config(ctx.workdir.config)


def _confirm(ctx: Context, text: str) -> bool:
    return ctx.ui.ask(Question(text, (Choice("y", "yes"), Choice("n", "no")), "n", "--yes")) == "y"
