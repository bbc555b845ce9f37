"""Step 2: the key between task app and backend."""

from __future__ import annotations

from mipro_walk.errors import UnreachableError
from mipro_walk.walkthrough.context import Context, StepResult
from mipro_walk.walkthrough.keys import EnvironmentKey, environment_key, find_key, mask
from mipro_walk.walkthrough.steps import Introduction, PlainStep

ORIGINS = {
    "environment": "taken from ENVIRONMENT_API_KEY",
    "file": "reused from an earlier run",
    "new": "made just now: 32 random bytes",
}


class Key(PlainStep):
    """Makes ENVIRONMENT_API_KEY and registers it with the backend."""

    number = 2
    title = "Task app key"

    def introduce(self, ctx: Context) -> Introduction:
        """Return what is said before the question."""
        where = ctx.options.backend or "a local backend, started for this walkthrough"
        return Introduction(
            "Makes ENVIRONMENT_API_KEY, the password between the task app and the backend, so that no other program "
            f"can use your task app. It is kept in env_key.txt and registered, encrypted, with {where}.",
            "mipro-walk key",
            "two seconds",
        )

    def may_skip(self, ctx: Context) -> bool:
        """Whether there is a key already."""
        return find_key(ctx.workdir) is not None

    def run(self, ctx: Context) -> StepResult:
        """Make or find the key, show its last four characters, register it."""
        key = environment_key(ctx.environ, ctx.workdir)
        show_key(ctx, key)
        if not ctx.options.is_dry_run:
            with ctx.ui.working("Registering the key with the backend …"):
                backend = ctx.services.backend()
                is_registered = backend.register_environment_key(key.value)
            if not is_registered:
                raise UnreachableError(
                    f"The backend {backend.base_url} did not keep the key.", "Try again, or name another --backend."
                )
            ctx.ui.done(f"Key registered with the backend at {backend.base_url}")
        return StepResult({"origin": key.origin, "file": str(ctx.workdir.env_key)})


def show_key(ctx: Context, key: EnvironmentKey) -> None:
    """Say where the key comes from and where it is kept; only its end is shown."""
    ctx.ui.done(f"ENVIRONMENT_API_KEY {mask(key.value)}, {ORIGINS[key.origin]}")
    ctx.ui.fields([("kept in", f"{ctx.workdir.env_key} (only you can read it)")])
