"""``python -m mipro_walk.project PROJECT [--port N]``: the process behind ``mipro-walk task-app start --project``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mipro_walk.errors import MiproWalkError
from mipro_walk.project.serving import serve_project


def main() -> int:
    """Serve until stopped; an error of the user's is one line on stderr and its exit code."""
    parser = argparse.ArgumentParser(prog="python -m mipro_walk.project", description="Serve a project as a task app.")
    parser.add_argument("project", type=Path)
    parser.add_argument("--port", type=int, default=8002)
    arguments = parser.parse_args()
    try:
        return serve_project(arguments.project, environ=os.environ, port=arguments.port)
    except MiproWalkError as exc:
        problems = " ".join(getattr(exc, "problems", []))
        print(f"task app: {exc.message} {problems} {exc.fix}".replace("\n", " "), file=sys.stderr)
        return exc.exit_code


if __name__ == "__main__":
    sys.exit(main())
