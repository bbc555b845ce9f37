"""Step 1: is everything here that the walkthrough needs?"""

from __future__ import annotations

from mipro_walk.walkthrough.checks import Machine, check_machine, require_no_failure
from mipro_walk.walkthrough.context import Context, StepResult
from mipro_walk.walkthrough.profile import chosen_profile, needs_local_model
from mipro_walk.walkthrough.steps import Introduction, PlainStep


class Prerequisites(PlainStep):
    """Checks the machine; fetches the local model's weights if they will be used."""

    number = 1
    title = "Prerequisites"

    def introduce(self, ctx: Context) -> Introduction:
        """Return what is said before the question."""
        return Introduction(
            "Checks Python, packages, keys, the port and the folders. Nothing is sent anywhere. No key is required: "
            "without one, a small language model on this machine does the work (93 MB, fetched once).",
            "mipro-walk doctor",
            "a second",
        )

    def run(self, ctx: Context) -> StepResult:
        """Show the check list and make sure that the model can be used."""
        machine = Machine(
            ctx.environ,
            ctx.workdir.path,
            ctx.options.task_app_port,
            ctx.options.backend,
            ctx.options.model_path,
            ctx.ui.encoding,
        )
        checks = check_machine(machine)
        ctx.ui.checks(checks)
        require_no_failure(checks)
        if needs_local_model(ctx) and ctx.options.model_path is None and not ctx.options.is_dry_run:
            self._pull(ctx)
        warnings = sum(check.status == "WARN" for check in checks)
        suffix = "; nothing in the warnings stops a local run" if warnings else ""
        ctx.ui.done(f"All prerequisites met{suffix}.")
        return StepResult({"profile": chosen_profile(ctx), "warnings": warnings})

    @staticmethod
    def _pull(ctx: Context) -> None:
        from mipro_walk.local_model import weights
        from mipro_walk.paths import models_folder

        if weights.find(models_folder()) is not None:
            return
        with ctx.ui.working("Fetching the local model (93 MB) …") as progress:
            weights.pull(models_folder(), progress)
        ctx.ui.done("The local model is here, its checksum is right.")
