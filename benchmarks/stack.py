"""Our real stack for benchmarks: backend process with its ledger on disk, task app process on the shipped sample."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from mipro_walk.clients.backend import BackendClient
from mipro_walk.paths import backend_key, home
from mipro_walk.processes import ManagedProcess, listening_port, start_process

START_SECONDS = 60.0
POLL_SECONDS = 0.5


class Stack:
    """Backend and task app as processes, started as the walkthrough starts them.

    ``MIPRO_WALK_HOME`` of the environment must name a folder of the benchmark's own.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        """Start both; ``environ`` names the model endpoint and its key to the backend."""
        key = secrets.token_hex(32)
        self._task_app = _start("task-app", "task_apps.banking77", {"ENVIRONMENT_API_KEY": key}, folder)
        self.task_app_url = f"http://127.0.0.1:{_wait_for_port(self._task_app)}"
        self._backend = _start("backend", "mipro_walk.backend", environ, folder, START_SECONDS)
        self.client = BackendClient(self._backend.url, backend_key(home()))
        self.client.register_environment_key(key)
        self.pids = (self._task_app.pid, self._backend.pid)

    def close(self) -> None:
        """Stop both processes."""
        self.client.close()
        for process in (self._backend, self._task_app):
            process.stop()

    def run_job(self, document: Mapping[str, Any], limit_seconds: float = 3600.0) -> dict[str, Any] | None:
        """Run one job until nothing more happens to it by itself; return its status, ``None`` if time ran out."""
        job_id = self.client.submit(document)
        deadline = time.monotonic() + limit_seconds
        while (status := self.client.status(job_id))["status"] in ("queued", "running"):
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL_SECONDS)
        return dict(status)


def seconds_of(status: Mapping[str, Any]) -> float:
    """Return the wall time of a job that has ended, from its start to its end."""
    ended, began = (datetime.fromisoformat(status[name]) for name in ("finished_at", "started_at"))
    return (ended - began).total_seconds()


def _start(name: str, module: str, env: Mapping[str, str], folder: Path, ready_seconds: float = 0.0) -> ManagedProcess:
    """Start a server on a free port, as the walkthrough does."""
    log = folder / f"{name}.log"
    return start_process(name, module, ["--port", "0"], env=dict(env), log_path=log, ready_seconds=ready_seconds)


def _wait_for_port(process: ManagedProcess) -> int:
    """Return the port that a server listens on, once it does."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.is_alive():
        if port := listening_port(process.pid):
            return port
        time.sleep(0.05)
    raise SystemExit(f"{process.name} did not start: {process.last_lines()}")
