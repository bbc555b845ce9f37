"""The servers of one walkthrough: found if they run, started if not, stopped when it ends."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipro_walk.clients.backend import BackendClient
from mipro_walk.clients.task_app import TaskAppClient
from mipro_walk.errors import ConfigError, KeyMissingError, MiproWalkError, UnreachableError
from mipro_walk.paths import backend_key, home
from mipro_walk.processes import (
    Listener,
    ManagedProcess,
    ProcessRecord,
    backend_environment,
    is_port_free,
    listening_port,
    records,
    start_process,
    who_listens,
)

BACKEND = "backend"
TASK_APP = "task-app"
TASK_APP_MODULE = "task_apps.banking77"
PROJECT_MODULE = "mipro_walk.project"
TASK_APP_SERVICE = "banking77_intent_classification"
BACKEND_SECONDS = 30.0
TASK_APP_SECONDS = 20.0
HUB_SECONDS = 300.0
INSTANCE_VARIABLE = "TASK_APP_INSTANCE_ID"


@dataclass(frozen=True, slots=True)
class TaskApp:
    """A task app that answers.

    Attributes:
        started_here: whether this process started it, and so stops it.
        log: where it prints; empty for one that was running already.
    """

    url: str
    pid: int | None
    started_here: bool
    log: str = ""


@dataclass(frozen=True, slots=True)
class PortHolder:
    """Who is in the way on the task app's port.

    Attributes:
        is_usable: a task app of the same task that accepts our key.
        record: ours, if we started it earlier.
    """

    listener: Listener | None
    is_usable: bool
    record: ProcessRecord | None
    url: str

    def __str__(self) -> str:
        who = str(self.listener) if self.listener else "another process"
        return f"{who}, started by mipro-walk" if self.record else who


class Services:
    """The backend and the task app in use. Close it to stop what it started."""

    def __init__(self, environ: Mapping[str, str], *, backend_url: str | None = None, model_path: Path | None = None):
        self._environ = environ
        self._backend_url = backend_url
        self._model_path = model_path
        self._backend: BackendClient | None = None
        self._backend_process: ManagedProcess | None = None
        self._task_app_processes: list[ManagedProcess] = []
        self._task_app: TaskApp | None = None

    @property
    def started_backend(self) -> bool:
        """Whether the backend was started here."""
        return self._backend_process is not None

    def backend(self) -> BackendClient:
        """Return the backend: the one that was named, a local one that runs, or a new local one.

        Raises:
            KeyMissingError: a backend was named, and SYNTH_API_KEY is not set.
            MiproWalkError: it does not start or answer.
        """
        if self._backend is None:
            self._backend = self._remote_backend() if self._backend_url else self._local_backend()
        return self._backend

    def task_app(self) -> TaskApp | None:
        """Return the task app in use, if it still answers for itself."""
        app = self._task_app
        if app and any(process.pid == app.pid and not process.is_alive() for process in self._task_app_processes):
            self._task_app = None
        return self._task_app

    def start_task_app(self, key: str, port: int, data: str, log_path: Path, *, detached: bool = False) -> TaskApp:
        """Start the task app and wait until it accepts the key.

        Args:
            port: 0 takes a free one.
            data: Banking77's rows (``sample``, ``hub`` or a path), or the folder of a project.

        Raises:
            MiproWalkError: it ended, or is not healthy in time; its last words are in the message.
        """
        instance_id = secrets.token_hex(8)
        project = project_folder(data)
        process = start_process(
            TASK_APP,
            PROJECT_MODULE if project else TASK_APP_MODULE,
            ["--port", str(port), *([str(project)] if project else data_arguments(data))],
            env={"ENVIRONMENT_API_KEY": key, INSTANCE_VARIABLE: instance_id},
            log_path=log_path,
            detached=detached,
            instance_id=instance_id,
        )
        try:
            url = _wait_until_healthy(process, key, instance_id, HUB_SECONDS if data == "hub" else TASK_APP_SECONDS)
        except BaseException:
            process.stop()
            raise
        process.set_url(url)
        if detached:
            process.release()
        else:
            self._task_app_processes.append(process)
        self._task_app = TaskApp(url, process.pid, not detached, str(log_path))
        return self._task_app

    def use_task_app(self, holder: PortHolder) -> TaskApp:
        """Take a task app that runs already."""
        pid = holder.listener.pid if holder.listener else None
        self._task_app = TaskApp(holder.url, pid, False)
        return self._task_app

    def close(self) -> None:
        """Stop what was started here; the task app last, since jobs call it."""
        if self._backend is not None:
            self._backend.close()
        if self._backend_process is not None:
            self._backend_process.stop()
        for process in self._task_app_processes:
            process.stop()

    def _remote_backend(self) -> BackendClient:
        key = self._environ.get("SYNTH_API_KEY", "").strip()
        if not key:
            raise KeyMissingError(
                f"The backend {self._backend_url} needs a key.", "Set SYNTH_API_KEY to the key of that backend."
            )
        return BackendClient(str(self._backend_url), key)

    def _local_backend(self) -> BackendClient:
        key = backend_key(home())
        url = running_backend(key)
        if url is None:
            self._backend_process = start_backend(self._environ, self._model_path)
            url = self._backend_process.url
        return BackendClient(url, key)


def start_backend(
    environ: Mapping[str, str],
    model_path: Path | None = None,
    *,
    port: int = 0,
    detached: bool = False,
    allow_remote_task_apps: bool = False,
) -> ManagedProcess:
    """Start the local backend and wait until it answers."""
    more = ["--model-path", str(model_path.expanduser().absolute())] if model_path else []
    more += ["--allow-remote-task-apps"] if allow_remote_task_apps else []
    return start_process(
        BACKEND,
        "mipro_walk.backend",
        ["--port", str(port), *more],
        env=backend_environment(environ),
        log_path=home() / "backend.log",
        detached=detached,
        ready_seconds=BACKEND_SECONDS,
    )


def running_backend(key: str) -> str | None:
    """Return the URL of a local backend of ours that runs and answers."""
    for record in records():
        if record.name == BACKEND and record.url:
            with contextlib.suppress(MiproWalkError), contextlib.closing(BackendClient(record.url, key)) as client:
                client.health()
                return record.url
    return None


def running_task_app() -> ProcessRecord | None:
    """Return the record of the task app that runs, the newest if there are several."""
    found = [record for record in records() if record.name == TASK_APP and record.url]
    return max(found, key=lambda record: record.create_time, default=None)


def port_holder(port: int, key: str, data: str = "sample") -> PortHolder | None:
    """Return who holds ``port``, usable if it serves the task of ``data``; ``None`` if it is free (0 always is)."""
    if port == 0 or is_port_free(port):
        return None
    listener = who_listens(port)
    url = f"http://127.0.0.1:{port}"
    health = _health(url, key)
    is_usable = health.get("service") == service_of(data) and health.get("authorized") is True
    ours = [record for record in records() if record.instance_id and record.instance_id == health.get("instance_id")]
    return PortHolder(listener, is_usable, ours[0] if ours else None, url)


def project_folder(data: str) -> Path | None:
    """Return the folder of the project that ``data`` names; ``None`` if it names rows of Banking77."""
    from mipro_walk.project.definition import project_of

    path = Path(data).expanduser().absolute()
    return project_of(path) if data not in ("sample", "hub") and (path.is_dir() or path.suffix == ".toml") else None


def service_of(data: str) -> str:
    """Return the name under which the task of ``data`` is served. Raises ConfigError for a broken project."""
    from mipro_walk.project.definition import load_definition

    project = project_folder(data)
    return load_definition(project).task.name if project else TASK_APP_SERVICE


def data_arguments(data: str) -> list[str]:
    """Return the task app's options for ``sample``, ``hub`` or a path.

    Raises:
        ConfigError: the path does not exist.
    """
    if data in ("sample", "hub"):
        return ["--source", data]
    path = Path(data).expanduser().absolute()
    if not path.exists():
        raise ConfigError(f"There is no {str(path)!r}.", "Pass --data sample, --data hub, or the path of your data.")
    return ["--data", str(path)]


def launch_of(task_app: TaskApp, data: str, key_file: Path) -> dict[str, Any]:
    """Return what ``resume`` needs to start this task app again. No secret: the key's file is named, not the key."""
    how: dict[str, Any] = {"port": int(task_app.url.rpartition(":")[2]), "key_file": str(key_file)}
    if project := project_folder(data):
        return {"task_app": {**how, "project": str(project)}}
    arguments = data_arguments(data)
    how["data" if arguments[0] == "--data" else "source"] = arguments[1]
    return {"task_app": how}


def _wait_until_healthy(process: ManagedProcess, key: str, instance_id: str, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.is_alive():
        port = listening_port(process.pid)
        if port is not None:
            url = f"http://127.0.0.1:{port}"
            health = _health(url, key)
            if health.get("instance_id") == instance_id and health.get("authorized") is True:
                return url
        time.sleep(0.05)
    raise process.failure()


def _health(url: str, key: str) -> Mapping[str, Any]:
    client = TaskAppClient(url, key, rollout_timeout_seconds=2.0)
    with contextlib.closing(client), contextlib.suppress(UnreachableError, KeyMissingError, ConfigError):
        return client.health()
    return {}
