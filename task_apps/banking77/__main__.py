"""Command line: `python -m task_apps.banking77 [--host] [--port] [--data PATH | --source sample|hub]`.

Exit codes: 0 stopped, 2 wrong usage or unreadable data, 4 key missing or too short, 5 port taken, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # imported late: `--help` and a missing key need neither FastAPI nor openai
    from .data import TaskData
    from .settings import Settings

EXIT_USAGE: Final = 2
EXIT_KEY: Final = 4
EXIT_PORT: Final = 5
EXIT_INTERRUPTED: Final = 130
# 10,000 `seed=` parameters make a request line of about 110 kB; uvicorn's own limit is 64 kB.
MAX_REQUEST_HEAD_BYTES: Final = 256 * 1024


class DropQuery(logging.Filter):
    """Cuts the query string from uvicorn's access lines: it can hold trace ids and is of no use there."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the path in place; every record passes."""
        if isinstance(record.args, tuple) and len(record.args) == 5:
            address, method, path, version, status = record.args
            record.args = (address, method, str(path).partition("?")[0], version, status)
        return True


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until it is stopped; return the exit code."""
    arguments = _parser().parse_args(argv)
    from .data import DataError
    from .settings import KeyProblem, is_loopback, settings_from
    from .sources import DataSource, load_task_data

    source = DataSource("path", arguments.data) if arguments.data else DataSource(arguments.source or "sample")
    if not is_loopback(arguments.host) and not arguments.expose:
        return _fail(EXIT_USAGE, f"{arguments.host} is not a loopback address. Pass --expose if you mean it.")
    try:
        settings = settings_from(
            os.environ,
            host=arguments.host,
            port=arguments.port,
            source=source,
            allowed_hosts=tuple(arguments.allow_host),
        )
    except KeyProblem as problem:
        return _fail(EXIT_KEY, str(problem))
    try:
        listener = _bind(settings.host, settings.port)
    except OSError as error:
        return _fail(EXIT_PORT, _describe_bind_error(error, settings))
    with listener:
        try:
            data = load_task_data(source)
        except DataError as error:
            return _fail(EXIT_USAGE, str(error))
        return _serve(settings, data, listener)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m task_apps.banking77",
        description="Serve Banking77 intent classification as a task app.",
        epilog="The key comes from ENVIRONMENT_API_KEY (at least 32 characters), never from an option.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8002, help="0 takes a free one (default: %(default)s)")
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument("--data", type=Path, metavar="PATH", help="folder with train.csv, or a CSV/JSONL/Parquet file")
    rows.add_argument("--source", choices=["sample", "hub"], help="shipped sample (default) or PolyAI/banking77")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="accept this Host header too (tunnel)"
    )
    parser.add_argument("--expose", action="store_true", help="allow a --host beyond this machine")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not between 0 and 65535")
    return port


def _bind(host: str, port: int) -> socket.socket:
    """Bind, but do not listen: the port is ours while rows load, and nobody is let in before."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets that say they are TCP; without it each answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere the option would allow two servers on one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _describe_bind_error(error: OSError, settings: Settings) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {settings.port} is in use on {settings.host}. Stop that process or pass --port."
    return f"Cannot bind {settings.host}:{settings.port}: {error.strerror or error}. Check --host and --port."


def _serve(settings: Settings, data: TaskData, listener: socket.socket) -> int:
    import uvicorn

    from .app import create_app

    app = create_app(settings, data)
    config = uvicorn.Config(
        app,
        log_config=_log_config(),
        http="h11",
        ws="none",
        server_header=False,
        timeout_keep_alive=15,
        h11_max_incomplete_event_size=MAX_REQUEST_HEAD_BYTES,
    )
    host, port = listener.getsockname()[:2]
    logging.getLogger("uvicorn.error").info("%s", _start_line(data, host, port))
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def _start_line(data: TaskData, host: str, port: int) -> str:
    from .data import hash_slice

    whole = data.slice()
    rows = ", ".join(f"{name} {len(pool.rows)}" for name, pool in whole.pools.items())
    return (
        f"Banking77 task app on http://{host}:{port}: source {data.source.name} ({data.source.detail}), "
        f"{len(data.labels)} labels, rows {rows}, sha256 {hash_slice(whole)}"
    )


def _log_config() -> dict[str, Any]:
    from uvicorn.config import LOGGING_CONFIG

    handlers = {name: dict(handler) for name, handler in LOGGING_CONFIG["handlers"].items()}
    handlers["access"]["filters"] = ["drop_query"]
    return {**LOGGING_CONFIG, "filters": {"drop_query": {"()": DropQuery}}, "handlers": handlers}


def _fail(code: int, message: str) -> int:
    print(f"task app: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
