"""``mipro-walk task-app start|serve|stop|status|info``: step 3 alone, as a server that stays."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mipro_walk.cli.options import DataOption, JsonOption, WorkdirOption, print_json
from mipro_walk.errors import ConfigError, UnreachableError

if TYPE_CHECKING:
    from mipro_walk.processes import ProcessRecord
    from mipro_walk.walkthrough.context import Context

NOT_RUNNING = ("No task app of ours is running.", "Start one with `mipro-walk task-app start`.")

app = typer.Typer(no_args_is_help=True, help="Start, stop and ask the task app of Banking77, or of a project.")


@app.command()
def start(
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="0 takes any free one.")] = 8002,
    data: DataOption = None,
    project: Annotated[
        Path | None, typer.Option("--project", metavar="DIR", help="Serve this project instead of Banking77.")
    ] = None,
    workdir: WorkdirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start the task app in the background; `mipro-walk task-app stop` ends it.

    \b
    Examples:
      mipro-walk task-app start --port 0 --data my_rows.csv
      mipro-walk task-app start --project my-task
    """
    from mipro_walk.walkthrough.keys import environment_key
    from mipro_walk.walkthrough.services import port_holder

    ctx = _context(workdir, data if project is None else str(_require_project(project)))
    key = environment_key(ctx.environ, ctx.workdir).value
    if holder := port_holder(port, key, ctx.data):
        raise UnreachableError(f"Port {port} is taken by {holder}.", "Pass --port 0 for a free one.")
    with ctx.ui.working("Starting the task app …"):
        running = ctx.services.start_task_app(key, port, ctx.data, ctx.workdir.task_app_log, detached=True)
    ctx.ui.done(f"Task app is running at {running.url}")
    ctx.ui.fields([("PID", str(running.pid)), ("log", running.log), ("stop it with", "mipro-walk task-app stop")])
    if as_json:
        print_json({"url": running.url, "pid": running.pid, "log": running.log})


@app.command()
def serve(
    project: Annotated[Path, typer.Argument(help="The project's folder.")],
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="0 takes any free one.")] = 8002,
    workdir: WorkdirOption = None,
) -> None:
    """Serve a project as a task app until Ctrl-C.

    The key is ENVIRONMENT_API_KEY, else the one of the work folder, which `train` and `run` use, too.

    Example: mipro-walk task-app serve my-task --port 8002
    """
    import os

    from mipro_walk.paths import Workdir
    from mipro_walk.project.serving import serve_project
    from mipro_walk.walkthrough.keys import environment_key

    key = environment_key(os.environ, Workdir.open(workdir)).value
    environ = {**os.environ, "ENVIRONMENT_API_KEY": key}
    if code := serve_project(_require_project(project), environ=environ, port=port):
        raise typer.Exit(code)


@app.command()
def stop(as_json: JsonOption = False) -> None:
    """Stop the task app, if it is one of ours. Other programs are never touched."""
    from mipro_walk.cli.stop_command import stop_all

    stop_all(("task-app",), as_json=as_json)


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Say whether a task app of ours runs; exit 5 if not."""
    record = _running()
    if as_json:
        print_json({"running": True, "url": record.url, "pid": record.pid, "log": record.log})
    else:
        typer.echo(f"Task app is running at {record.url} (pid {record.pid}, log {record.log})")


@app.command()
def info(workdir: WorkdirOption = None, as_json: JsonOption = False) -> None:
    """Show what the running task app is about."""
    from mipro_walk.clients.task_app import TaskAppClient
    from mipro_walk.walkthrough.keys import environment_key
    from mipro_walk.walkthrough.services import TaskApp
    from mipro_walk.walkthrough.steps.task_app import show_task_app

    ctx = _context(workdir)
    record = _running()
    with contextlib.closing(TaskAppClient(record.url, environment_key(ctx.environ, ctx.workdir).value)) as client:
        found = client.info({})
    if as_json:
        raw: dict[str, Any] = {**found.raw}
        print_json({"url": record.url, "info": raw})
    else:
        show_task_app(ctx, TaskApp(record.url, record.pid, False, record.log), found)


def _require_project(path: Path) -> Path:
    from mipro_walk.project.definition import TASK_FILE, project_of

    folder = project_of(path)
    if folder is None:
        raise ConfigError(f"There is no {TASK_FILE} in {str(path)!r}.", f"Make a project with: mipro-walk init {path}")
    return folder.absolute()


def _context(workdir: Any, data: str | None = None) -> Context:
    from mipro_walk.cli.run_command import make_context
    from mipro_walk.walkthrough.context import RunOptions

    return make_context(RunOptions(workdir=workdir, data=data))


def _running() -> ProcessRecord:
    from mipro_walk.walkthrough.services import running_task_app

    record = running_task_app()
    if record is None:
        raise UnreachableError(*NOT_RUNNING)
    return record
