"""``mipro-walk backend``: the job backend, in the foreground or in the background."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from mipro_walk.cli.options import ModelPathOption


def backend(
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="0 takes any free one.")] = 8000,
    model_path: ModelPathOption = None,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background until `mipro-walk stop`.")] = False,
    allow_remote_task_apps: Annotated[
        bool, typer.Option("--allow-remote-task-apps", help="Let jobs use task apps on other machines.")
    ] = False,
) -> None:
    """Serve the job backend on this machine (127.0.0.1 only). The other commands find it by themselves.

    The key for other clients, such as `synth-ai`, stands in backend_key.txt in the data folder.

    Example: mipro-walk backend --port 8000
    """
    from mipro_walk.paths import home
    from mipro_walk.walkthrough.services import start_backend

    process = start_backend(
        os.environ, model_path, port=port, detached=detach, allow_remote_task_apps=allow_remote_task_apps
    )
    typer.echo(f"Backend is running at {process.url} (pid {process.pid})", err=True)
    typer.echo(f"Key: {home() / 'backend_key.txt'}   Log: {process.log_path}", err=True)
    if detach:
        process.release()
        return
    typer.echo("Ctrl-C stops it; running jobs are kept and go on at the next start.", err=True)
    try:
        process.wait()
    finally:
        process.stop()
    raise process.failure()
