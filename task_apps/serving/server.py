"""Binding and serving an app: one listener that is ours before the rows are read, and a log without query strings."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fastapi import FastAPI

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


def port_number(text: str) -> int:
    """Read a port, 0 to 65535; 0 takes a free one."""
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not between 0 and 65535")
    return port


def bind(host: str, port: int) -> socket.socket:
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


def describe_bind_error(error: OSError, host: str, port: int) -> str:
    """Say why `bind` failed and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is in use on {host}. Stop that process or pass --port."
    return f"Cannot bind {host}:{port}: {error.strerror or error}. Check --host and --port."


def serve(app: FastAPI, listener: socket.socket, what: str) -> int:
    """Serve until stopped, saying `what` is served where; return the exit code."""
    import uvicorn

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
    logging.getLogger("uvicorn.error").info("%s", what.format(url=f"http://{host}:{port}"))
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def _log_config() -> dict[str, Any]:
    from uvicorn.config import LOGGING_CONFIG

    handlers = {name: dict(handler) for name, handler in LOGGING_CONFIG["handlers"].items()}
    handlers["access"]["filters"] = ["drop_query"]
    return {**LOGGING_CONFIG, "filters": {"drop_query": {"()": DropQuery}}, "handlers": handlers}


def fail(code: int, message: str) -> int:
    """Say on stderr what is wrong; return the exit code."""
    print(f"task app: {message}", file=sys.stderr)
    return code
