"""The process of the local model: its options, its port, the weights it loads, and the word that it is ready."""

from __future__ import annotations

import argparse
import ipaddress
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from mipro_walk.errors import ConfigError, KeyMissingError, MiproWalkError, PrerequisiteError
from mipro_walk.local_model import KEY_VARIABLE, weights
from mipro_walk.local_model.app import Settings, create_app
from mipro_walk.local_model.engine import LlamaEngine
from mipro_walk.paths import models_folder


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped; return the exit code. Prints ``ready URL`` to stdout once it can answer."""
    arguments = _parse_arguments(argv)
    try:
        _run(arguments)
    except MiproWalkError as exc:
        print(f"error: {exc.message}" + (f"\n  fix: {exc.fix}" if exc.fix else ""), file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mipro_walk.local_model",
        description=f"Serve a small language model on loopback (OpenAI API). The key is read from {KEY_VARIABLE}.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8003, help="0 takes a free one (default: 8003)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--model-path", type=Path, help="a GGUF file of your own")
    source.add_argument("--cache-dir", type=Path, help="where the model file is kept")
    parser.add_argument("--threads", type=int, help="CPU threads (default: measured at start)")
    parser.add_argument("--ready-file", type=Path, help="gets the URL when the service can answer")
    return parser.parse_args(argv)


def _run(arguments: argparse.Namespace) -> None:
    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise KeyMissingError(f"{KEY_VARIABLE} is not set.", fix=f"Export a key of your choice as {KEY_VARIABLE}.")
    if arguments.threads is not None and not 1 <= arguments.threads <= 256:
        raise ConfigError(f"--threads {arguments.threads} is not between 1 and 256.", fix="Leave it out to measure.")
    # Before the model is loaded: a port in use should be said at once.
    listener = _bind(arguments.host, arguments.port)
    with listener:
        path = _model_file(arguments)
        started = time.monotonic()
        engine = LlamaEngine(path, arguments.threads)
        _say(_describe(engine, arguments.threads is not None, time.monotonic() - started))
        _Server(create_app(engine, Settings(key)), listener, arguments.ready_file).run(sockets=[listener])


def _model_file(arguments: argparse.Namespace) -> Path:
    if arguments.model_path is not None:
        return weights.custom(arguments.model_path)
    return weights.pull(arguments.cache_dir or models_folder(), _say)


def _describe(engine: LlamaEngine, fixed: bool, seconds: float) -> str:
    how = "as told" if fixed else "measured fastest"
    return (
        f"{engine.model}: {engine.threads} thread(s), {how}; "
        f"{engine.tokens_per_second:.0f} generated tokens/s; started in {seconds:.1f} s"
    )


def _bind(host: str, port: int) -> socket.socket:
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as exc:
        raise ConfigError(f"--host {host!r} is not an IP address.", fix="Use 127.0.0.1.") from exc
    if not address.is_loopback:
        raise ConfigError(f"--host {host!r} is not a loopback address.", fix="Use 127.0.0.1.")
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port} is not between 0 and 65535.", fix="Use 0 for a free port.")
    listener = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((str(address), port))
    except OSError as exc:
        listener.close()
        raise PrerequisiteError(
            f"Cannot listen on {host}:{port}: {exc.strerror}.", fix="Stop what uses the port or pass --port 0."
        ) from exc
    return listener


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Server(uvicorn.Server):
    """Says once that it can answer, and takes the word back when it stops."""

    def __init__(self, app: FastAPI, listener: socket.socket, ready_file: Path | None) -> None:
        super().__init__(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3))
        host, port = listener.getsockname()[:2]
        self._url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._ready_file = ready_file

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready_file is not None:
            _write_whole(self._ready_file, self._url + "\n")
        print(f"ready {self._url}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._ready_file is not None:
            self._ready_file.unlink(missing_ok=True)
        await super().shutdown(sockets)


def _write_whole(path: Path, text: str) -> None:
    """Write so that a reader sees all of it or nothing."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, "utf-8")
        os.replace(partial, path)
    except OSError as exc:
        raise ConfigError(
            f"Cannot write --ready-file {str(path)!r}: {exc.strerror}.", fix="Name a writable path."
        ) from exc
