"""``python -m mipro_walk.backend``: serve the backend until it is told to stop.

Keys come from files and the environment, never from the command line.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mipro_walk.errors import MiproWalkError


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments and serve; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mipro_walk.backend", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--ready-file", type=Path, help="the URL is written here when the backend answers")
    parser.add_argument("--model-path", type=Path, help="a GGUF file for the local model")
    parser.add_argument("--allow-remote-task-apps", action="store_true")
    options = parser.parse_args(arguments)
    try:
        return _serve(options)
    except MiproWalkError as exc:
        print(f"{exc.message} {exc.fix}".strip(), file=sys.stderr)
        return exc.exit_code


def _serve(options: argparse.Namespace) -> int:
    from mipro_walk.backend.serving import serve
    from mipro_walk.backend.settings import BackendSettings, parse_model_map
    from mipro_walk.paths import backend_key, home

    folder = home()
    extra = os.environ.get("SYNTH_API_KEY", "")
    settings = BackendSettings(
        home=folder,
        keys=tuple(key for key in (backend_key(folder), extra) if len(key) >= 32),
        ledger_url=os.environ.get("MIPRO_WALK_LEDGER_URL", ""),
        host=options.host,
        model_map=parse_model_map(os.environ.get("MIPRO_WALK_MODEL_MAP", "")),
        model_path=options.model_path,
        allow_remote_task_apps=options.allow_remote_task_apps,
    )
    return serve(settings, options.port, options.ready_file)


if __name__ == "__main__":
    sys.exit(main())
