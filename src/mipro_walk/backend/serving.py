"""Serving the backend: one process for each data folder, its own socket, a file that says it is ready."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from types import FrameType

import uvicorn
from filelock import FileLock, Timeout

from mipro_walk.backend.app import create_app
from mipro_walk.backend.settings import BackendSettings
from mipro_walk.errors import ConfigError, IncompleteError, UnreachableError
from mipro_walk.loopback import is_loopback

KEEP_ALIVE_SECONDS = 5
MAX_CONNECTIONS = 200


def serve(settings: BackendSettings, port: int, ready_file: Path | None = None) -> int:
    """Serve until a signal comes; return the exit code.

    Raises:
        IncompleteError: another backend uses this data folder.
        UnreachableError: the port is taken.
        ConfigError: the address is not loopback.
    """
    if not is_loopback(f"http://{settings.host}"):
        raise ConfigError(f"The backend listens on this machine only, not on {settings.host}.", "Use 127.0.0.1.")
    lock = FileLock(settings.home / "backend.lock", mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout as exc:
        raise IncompleteError(
            f"Another backend (pid {_read(settings.home / 'backend.pid')}) uses {settings.home}.",
            "Use that one, stop it with `mipro-walk stop`, or set MIPRO_WALK_HOME to another folder.",
        ) from exc
    try:
        (settings.home / "backend.pid").write_text(f"{os.getpid()}\n", encoding="ascii")
        listener = _listen(settings.host, port)
        app = create_app(settings, listener.getsockname()[1])
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            limit_concurrency=MAX_CONNECTIONS,
            server_header=False,
        )
        _Server(config, app.state.base_url, app.state.closing, ready_file).run(sockets=[listener])
    finally:
        lock.release()
    return 0


class _Server(uvicorn.Server):
    """Tells the starter when it answers, and its streams when it is told to stop: it waits for them to end."""

    def __init__(self, config: uvicorn.Config, url: str, closing: threading.Event, ready_file: Path | None) -> None:
        super().__init__(config)
        self._url = url
        self._closing = closing
        self._ready_file = ready_file

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._closing.set()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"ready {self._url}", flush=True)
            if self._ready_file is not None:
                temporary = self._ready_file.with_suffix(".tmp")
                temporary.write_text(self._url + "\n", encoding="ascii")
                temporary.replace(self._ready_file)


def _listen(host: str, port: int) -> socket.socket:
    # Only a socket that says TCP gets TCP_NODELAY from asyncio; without it each answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        raise UnreachableError(f"Port {port} on {host} is taken.", "Pass --port 0 for a free one.") from exc
    return listener


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
