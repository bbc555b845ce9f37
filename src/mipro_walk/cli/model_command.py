"""``mipro-walk model pull|serve``: the small language model on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mipro_walk.cli.options import JsonOption, ModelPathOption, print_json

READY_SECONDS = 120.0

app = typer.Typer(no_args_is_help=True, help="Fetch and serve the local model.")


@app.command()
def pull(as_json: JsonOption = False) -> None:
    """Fetch the weights of SmolLM2-135M (93 MB, once) and verify them.

    Example: mipro-walk model pull
    """
    from mipro_walk.cli.console import is_interactive, stderr_console
    from mipro_walk.cli.ui import TerminalUi
    from mipro_walk.local_model import weights
    from mipro_walk.paths import models_folder

    ui = TerminalUi(stderr_console(), is_interactive=is_interactive())
    with ui.working("Looking for the weights …") as progress:
        path = weights.pull(models_folder(), progress)
    ui.done(f"The weights are here: {path}")
    if as_json:
        print_json({"path": str(path), "bytes": path.stat().st_size})


@app.command()
def serve(
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="0 takes any free one.")] = 8003,
    model_path: ModelPathOption = None,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, help="CPU threads; measured if not given.")] = None,
) -> None:
    """Serve the local model with the OpenAI API on 127.0.0.1, in the foreground.

    Set MIPRO_WALK_LOCAL_MODEL_KEY to choose its key; otherwise one is made and kept in the data folder.

    Example: mipro-walk model serve --port 8003
    """
    from mipro_walk.local_model import KEY_VARIABLE, weights
    from mipro_walk.paths import home, models_folder
    from mipro_walk.processes import start_process

    path: Path = weights.custom(model_path) if model_path else weights.pull(models_folder(), _say)
    key, where = _key()
    limit = ["--threads", str(threads)] if threads else []
    process = start_process(
        "local-model",
        "mipro_walk.local_model",
        ["--port", str(port), "--model-path", str(path), *limit],
        env={KEY_VARIABLE: key},
        log_path=home() / "local_model.log",
        ready_seconds=READY_SECONDS,
    )
    _say(f"Model is served at {process.url}/v1 (pid {process.pid}). Key: {where}")
    _say("Ctrl-C stops it.")
    try:
        process.wait()
    finally:
        process.stop()
    raise process.failure()


def _key() -> tuple[str, str]:
    """Return the key and where it can be looked up; it is never printed."""
    from mipro_walk.local_model import KEY_VARIABLE
    from mipro_walk.paths import home, private_key

    given = os.environ.get(KEY_VARIABLE)
    if given:
        return given, KEY_VARIABLE
    path = home() / "local_model_key.txt"
    return private_key(path), str(path)


def _say(text: str) -> None:
    typer.echo(text, err=True)
