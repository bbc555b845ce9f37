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
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the live page in a browser; a backend that runs already is used.")
    ] = False,
) -> None:
    """Serve the job backend on this machine (127.0.0.1 only). The other commands find it by themselves.

    A live page of the jobs is served at its address; `mipro-walk backend --open` opens it.

    The key for other clients, such as `synth-ai`, stands in backend_key.txt in the data folder.

    Example: mipro-walk backend --port 8000
    """
    from mipro_walk.paths import backend_key, home
    from mipro_walk.walkthrough.services import running_backend, start_backend

    if open_page and (url := running_backend(backend_key(home()))):
        _show_page(url)
        return
    process = start_backend(
        os.environ, model_path, port=port, detached=detach, allow_remote_task_apps=allow_remote_task_apps
    )
    typer.echo(f"Backend is running at {process.url} (pid {process.pid})", err=True)
    typer.echo(f"Key: {home() / 'backend_key.txt'}   Log: {process.log_path}", err=True)
    if open_page:
        _show_page(process.url)
    else:
        typer.echo(f"Live page: {process.url}/ (mipro-walk backend --open)", err=True)
    if detach:
        process.release()
        return
    typer.echo("Ctrl-C stops it; running jobs are kept and go on at the next start.", err=True)
    try:
        process.wait()
    finally:
        process.stop()
    raise process.failure()


def _show_page(url: str) -> None:
    from contextlib import closing

    from mipro_walk.cli.page_opening import show_page
    from mipro_walk.clients.backend import BackendClient
    from mipro_walk.paths import backend_key, home

    with closing(BackendClient(url, backend_key(home()))) as client:
        show_page(client, lambda text: typer.echo(text, err=True))
