"""``mipro-walk key``: step 2 alone."""

from __future__ import annotations

from typing import Annotated

import typer

from mipro_walk.cli.options import BackendOption, JsonOption, WorkdirOption, print_json


def key(
    workdir: WorkdirOption = None,
    backend: BackendOption = None,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new key even if there is one.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the task app's key (ENVIRONMENT_API_KEY) and register it with the backend. It is never shown whole.

    Example: mipro-walk key --rotate
    """
    from mipro_walk.cli.run_command import make_context
    from mipro_walk.walkthrough.context import RunOptions
    from mipro_walk.walkthrough.keys import environment_key, mask
    from mipro_walk.walkthrough.steps.key import Key

    ctx = make_context(RunOptions(workdir=workdir, backend=backend))
    try:
        if rotate:
            environment_key(ctx.environ, ctx.workdir, rotate=True)
        result = Key().run(ctx)
        value = environment_key(ctx.environ, ctx.workdir).value
        if rotate:
            ctx.ui.warn("A task app that runs with the old key has to be started again.")
    finally:
        ctx.services.close()
    if as_json:
        origin = "new" if rotate else result.data["origin"]
        print_json({"file": result.data["file"], "origin": origin, "key": mask(value), "registered": True})
