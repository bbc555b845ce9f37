"""The local model's process, started when the first job needs it and kept for the next ones."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

from pydantic import SecretStr

from mipro_walk.clients.endpoints import Endpoint
from mipro_walk.local_model import KEY_VARIABLE, weights
from mipro_walk.processes import ManagedProcess, start_process

START_SECONDS = 90.0


class LocalModel:
    """At most one model server, on a port of its own choice, with a key of its own."""

    def __init__(self, home: Path, model_path: Path | None) -> None:
        self._home = home
        self._model_path = model_path
        self._lock = threading.Lock()
        self._process: ManagedProcess | None = None
        self._key = secrets.token_hex(32)
        self._url = ""

    def endpoint(self, model: str) -> Endpoint:
        """Return where it answers, after starting it if it does not run.

        Raises:
            PrerequisiteError: the weights or the engine cannot be had, or it does not start.
        """
        with self._lock:
            if self._process is None or not self._process.is_alive():
                self._start()
        return Endpoint(provider="local", base_url=f"{self._url}/v1", model=model, api_key=SecretStr(self._key))

    def stop(self) -> None:
        """Stop the server if it runs."""
        with self._lock:
            if self._process is not None:
                self._process.stop()
                self._process = None

    def _start(self) -> None:
        models = self._home / "models"
        path = weights.custom(self._model_path) if self._model_path else weights.pull(models)
        self._process = start_process(
            "local-model",
            "mipro_walk.local_model",
            ["--port", "0", "--model-path", str(path)],
            env={KEY_VARIABLE: self._key},
            log_path=self._home / "run" / "local_model.log",
            ready_seconds=START_SECONDS,
        )
        self._url = self._process.url
