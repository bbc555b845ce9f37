"""Command line: `python -m task_apps.banking77 [--host] [--port] [--data PATH | --source sample|hub]`.

Exit codes: 0 stopped, 2 wrong usage or unreadable data, 4 key missing or too short, 5 port taken, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from task_apps.serving.server import (
    EXIT_KEY,
    EXIT_PORT,
    EXIT_USAGE,
    bind,
    describe_bind_error,
    fail,
    port_number,
    serve,
)

if TYPE_CHECKING:  # imported late: `--help` and a missing key need neither FastAPI nor openai
    from .data import TaskData


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until it is stopped; return the exit code."""
    arguments = _parser().parse_args(argv)
    from task_apps.serving.settings import KeyProblem, is_loopback, settings_from

    from .data import DataError
    from .sources import DataSource, load_task_data

    source = DataSource("path", arguments.data) if arguments.data else DataSource(arguments.source or "sample")
    if not is_loopback(arguments.host) and not arguments.expose:
        return fail(EXIT_USAGE, f"{arguments.host} is not a loopback address. Pass --expose if you mean it.")
    try:
        settings = settings_from(
            os.environ,
            host=arguments.host,
            port=arguments.port,
            allowed_hosts=tuple(arguments.allow_host),
        )
    except KeyProblem as problem:
        return fail(EXIT_KEY, str(problem))
    try:
        listener = bind(settings.host, settings.port)
    except OSError as error:
        return fail(EXIT_PORT, describe_bind_error(error, settings.host, settings.port))
    with listener:
        try:
            data = load_task_data(source)
        except DataError as error:
            return fail(EXIT_USAGE, str(error))
        from .app import create_app

        return serve(create_app(settings, data), listener, _what(data))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m task_apps.banking77",
        description="Serve Banking77 intent classification as a task app.",
        epilog="The key comes from ENVIRONMENT_API_KEY (at least 32 characters), never from an option.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: %(default)s)")
    parser.add_argument("--port", type=port_number, default=8002, help="0 takes a free one (default: %(default)s)")
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument("--data", type=Path, metavar="PATH", help="folder with train.csv, or a CSV/JSONL/Parquet file")
    rows.add_argument("--source", choices=["sample", "hub"], help="shipped sample (default) or PolyAI/banking77")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="accept this Host header too (tunnel)"
    )
    parser.add_argument("--expose", action="store_true", help="allow a --host beyond this machine")
    return parser


def _what(data: TaskData) -> str:
    """Say what is served, for a line that still needs its `url`."""
    from .data import hash_slice

    whole = data.slice()
    rows = ", ".join(f"{name} {len(pool.rows)}" for name, pool in whole.pools.items())
    source = f"{data.source.name} ({data.source.detail})".replace("{", "{{").replace("}", "}}")
    return (
        f"Banking77 task app on {{url}}: source {source}, "
        f"{len(data.labels)} labels, rows {rows}, sha256 {hash_slice(whole)}"
    )


if __name__ == "__main__":
    sys.exit(main())
