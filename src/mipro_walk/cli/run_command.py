"""``mipro-walk run``: the six steps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mipro_walk.cli.console import COLOR_VARIABLE, ColorMode, is_interactive, stderr_console
from mipro_walk.cli.options import (
    BackendOption,
    DataOption,
    JsonOption,
    ModelPathOption,
    NonInteractiveOption,
    WorkdirOption,
    print_json,
)

if TYPE_CHECKING:
    from mipro_walk.walkthrough.context import Context, RunOptions
    from mipro_walk.walkthrough.submit_job import Follow, JobClient

QUIT_EXIT_CODE = 7
DRY_RUN_LAST_STEP = 4


@dataclass(frozen=True, slots=True)
class _Screen:
    """How a run talks and ends."""

    display: str | None
    as_json: bool
    fail_under: float | None
    non_interactive: bool


def run(
    non_interactive: NonInteractiveOption = False,
    from_step: Annotated[int | None, typer.Option("--from-step", metavar="N", help="Start at step 1 to 6.")] = None,
    workdir: WorkdirOption = None,
    data: DataOption = None,
    num_intents: Annotated[
        int | None, typer.Option("--num-intents", metavar="N", min=2, max=77, help="Use only N intents.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="quick-local, walkthrough, groq, production or gepa."),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option("--algorithm", metavar="NAME", help="mipro or gepa; by default the profile's."),
    ] = None,
    backend: BackendOption = None,
    task_app_port: Annotated[
        int, typer.Option("--task-app-port", metavar="PORT", min=0, max=65535, help="0 takes any free one.")
    ] = 8002,
    rng_seed: Annotated[
        int | None,
        typer.Option("--rng-seed", metavar="N", min=0, max=2**31 - 1, help="Seed of every random choice."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to calls that cost money.")] = False,
    max_cost_usd: Annotated[
        float | None, typer.Option("--max-cost-usd", metavar="X", min=0.0, help="Hard cap on what a run may cost.")
    ] = None,
    overwrite_config: Annotated[
        bool, typer.Option("--overwrite-config", help="Replace a configuration that is there already.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Checks, configuration and plan only: no job, nothing paid.")
    ] = False,
    as_json: JsonOption = False,
    fail_under: Annotated[
        float | None,
        typer.Option("--fail-under", metavar="X", min=0.0, max=1.0, help="Exit 6 if the test score is below."),
    ] = None,
    display: Annotated[str | None, typer.Option("--display", metavar="NAME", help="rich, plain, log or none.")] = None,
    color: Annotated[ColorMode, typer.Option(help="When to use colours.")] = "auto",
    model_path: ModelPathOption = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Walk through the six steps from nothing to an optimized prompt.

    Without a key everything runs on this machine with a small model. Without a terminal, or with --non-interactive,
    the same steps run without questions.

    \b
    Examples:
      mipro-walk run
      mipro-walk run --non-interactive --json --fail-under 0.4
      mipro-walk run --profile walkthrough --max-cost-usd 0.50
      mipro-walk run --algorithm gepa
      mipro-walk run --dry-run --json
    """
    from mipro_walk.core.settings import algorithm_named
    from mipro_walk.walkthrough.context import RunOptions

    if color != "auto":
        os.environ[COLOR_VARIABLE] = color
    options = RunOptions(
        workdir=workdir,
        data=data,
        num_intents=num_intents,
        profile=profile,
        algorithm=None if algorithm is None else algorithm_named(algorithm),
        backend=backend,
        task_app_port=task_app_port,
        rng_seed=rng_seed,
        yes=yes,
        max_cost_usd=max_cost_usd,
        model_path=model_path,
        overwrite_config=overwrite_config,
        is_dry_run=dry_run,
    )
    _walk(options, _Screen(display, as_json, fail_under, non_interactive), from_step)


def make_context(options: RunOptions, *, non_interactive: bool = False, display: str | None = None) -> Context:
    """Return the context of a walkthrough on this terminal. The caller closes its services."""
    from mipro_walk.cli.ui import TerminalUi
    from mipro_walk.paths import Workdir
    from mipro_walk.walkthrough.context import Context
    from mipro_walk.walkthrough.services import Services
    from mipro_walk.walkthrough.state import load_state

    console = stderr_console()
    workdir = Workdir.open(options.workdir or Workdir.default_path(options.algorithm or "mipro"))
    environ = dict(os.environ)

    def follow(client: JobClient, is_ours: bool) -> Follow:
        from mipro_walk.cli import live
        from mipro_walk.cli.job_session import chosen_display

        chosen = chosen_display(display, console)
        return lambda job_id: live.follow(
            client, job_id, console=console, display=chosen, on_interrupt="pause" if is_ours else "detach"
        )

    return Context(
        options=options,
        ui=TerminalUi(console, is_interactive=is_interactive(environ) and not non_interactive),
        workdir=workdir,
        environ=environ,
        state=load_state(workdir),
        services=Services(environ, backend_url=options.backend, model_path=options.model_path),
        follow=follow,
    )


def _walk(options: RunOptions, screen: _Screen, from_step: int | None) -> None:
    from mipro_walk.walkthrough.runner import all_steps, first_step, require_step, run_steps
    from mipro_walk.walkthrough.ui import QuitRequested

    require_step(from_step)
    _check_names(options, screen)
    ctx = make_context(options, non_interactive=screen.non_interactive, display=screen.display)
    try:
        _greet(ctx)
        last = DRY_RUN_LAST_STEP if options.is_dry_run else len(all_steps())
        left = run_steps(ctx, all_steps(), first_step(ctx, from_step), last)
    except QuitRequested:
        _say_goodbye(ctx)
        raise typer.Exit(QUIT_EXIT_CODE) from None
    except KeyboardInterrupt:
        _say_goodbye(ctx)
        raise
    finally:
        ctx.services.close()
    _finish(ctx, screen, left)


def _check_names(options: RunOptions, screen: _Screen) -> None:
    """Refuse a misspelt name, or GEPA without its package, before anything is started."""
    if "gepa" in (options.algorithm, options.profile):
        from mipro_walk.core.algorithms import require_gepa

        require_gepa()
    if options.profile is not None:
        from mipro_walk.config import get_profile

        get_profile(options.profile)
    if screen.display is not None:
        from mipro_walk.cli.job_session import chosen_display

        chosen_display(screen.display, stderr_console())


def _greet(ctx: Context) -> None:
    if not ctx.ui.is_interactive:
        return
    ctx.ui.heading("mipro-walk", "from a plain prompt to a better one, with proof")
    ctx.ui.say(
        "Six steps: prerequisites, key, task app, configuration, optimization, results. "
        "Enter goes on; everything has a safe default."
    )
    ctx.ui.fields([("work folder", str(ctx.workdir.path))])


def _say_goodbye(ctx: Context) -> None:
    again = "mipro-walk run" + (f" --workdir {ctx.workdir.path}" if ctx.options.workdir else "")
    ctx.ui.say("")
    ctx.ui.say("Stopped; what is done is kept. Servers that were started here are stopped, too.")
    ctx.ui.fields([("go on with", again)])


def _finish(ctx: Context, screen: _Screen, left: dict[str, Any]) -> None:
    from mipro_walk.walkthrough.submit_job import require_score

    if screen.as_json:
        print_json(_final_object(ctx, left))
    if ctx.result is not None:
        require_score(ctx.result, screen.fail_under)


def _final_object(ctx: Context, left: dict[str, Any]) -> dict[str, Any]:
    if ctx.result is None:
        return {"job_id": None, "status": "dry-run" if ctx.options.is_dry_run else "done", "steps": left}
    return {**ctx.result.as_dict(), "steps": left}
