"""What the job commands share: the backend to talk to, the display, the task app a job needs."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mipro_walk.errors import ConfigError, KeyMissingError, MiproWalkError, UnreachableError

if TYPE_CHECKING:
    from rich.console import Console

    from mipro_walk.clients.backend import BackendClient
    from mipro_walk.config import RunConfig
    from mipro_walk.processes import ManagedProcess

BACKEND_NAME = "backend"
TASK_APP_NAME = "task-app"
BACKEND_READY_SECONDS = 30.0
TASK_APP_READY_SECONDS = 30.0
DISPLAY_VARIABLE = "MIPRO_WALK_DISPLAY"


@dataclass(frozen=True, slots=True)
class JobBackend:
    """An open backend. ``is_ours`` tells that this process started it and ends it."""

    client: BackendClient
    is_ours: bool


@contextlib.contextmanager
def open_backend(url: str | None = None, *, outlives_us: bool = False) -> Iterator[JobBackend]:
    """Talk to the backend at ``url``, else to the local one that runs, else to a local one started for this.

    Args:
        outlives_us: start it detached, for jobs nobody waits for.

    Raises:
        KeyMissingError: ``url`` is given and SYNTH_API_KEY is not set.
        UnreachableError: it does not answer.
    """
    from mipro_walk.clients.backend import BackendClient

    process: ManagedProcess | None = None
    if url is not None:
        client = BackendClient(url, _remote_key(url))
    else:
        found, key = _running_backend(), _local_key()
        if found is None:
            process = _start_backend(detached=outlives_us)
            found = process.url
        client = BackendClient(found, key)
    try:
        yield JobBackend(client, process is not None and not outlives_us)
    finally:
        client.close()
        if process is not None:
            process.release() if outlives_us else process.stop()


def _local_key() -> str:
    from mipro_walk.paths import backend_key, home

    return backend_key(home())


def _remote_key(url: str) -> str:
    key = os.environ.get("SYNTH_API_KEY", "").strip()
    if not key:
        raise KeyMissingError(f"The backend at {url} needs a key.", "Set SYNTH_API_KEY to the key of that backend.")
    return key


def _running_backend() -> str | None:
    """Return the URL of a local backend that runs and takes our key."""
    from mipro_walk.clients.backend import BackendClient
    from mipro_walk.processes import records

    for record in records():
        if record.name != BACKEND_NAME or not record.url:
            continue
        client = BackendClient(record.url, _local_key())
        with contextlib.suppress(MiproWalkError), contextlib.closing(client):
            client.health()
            return record.url
    return None


def _start_backend(*, detached: bool) -> ManagedProcess:
    from mipro_walk.paths import home
    from mipro_walk.processes import backend_environment, start_process

    return start_process(
        BACKEND_NAME,
        "mipro_walk.backend",
        ["--port", "0"],
        env=backend_environment(os.environ),
        log_path=home() / "backend.log",
        detached=detached,
        ready_seconds=BACKEND_READY_SECONDS,
    )


# ---- task app


def task_app_key(config: RunConfig, config_path: Path) -> str | None:
    """Return the task app's key: environment, configuration, or ``env_key.txt`` beside it; ``None`` if nowhere."""
    key = os.environ.get("ENVIRONMENT_API_KEY", "").strip()
    if key:
        return key
    if config.task_app_api_key is not None:
        return config.task_app_api_key.get_secret_value()
    return read_key_file(config_path.parent / "env_key.txt")


def read_key_file(path: Path) -> str | None:
    """Return the key in a private file, or ``None`` if there is no such file."""
    from mipro_walk.paths import read_private

    data = read_private(path)
    return None if data is None else data.decode("ascii", "replace").strip() or None


@contextlib.contextmanager
def task_app_of(launch: Mapping[str, Any], task_app_url: str) -> Iterator[bool]:
    """Make sure that the task app a job needs answers, starting it again if it was ours; yield whether it was started.

    Raises:
        UnreachableError: it does not answer, and nothing is known of how to start it.
    """
    if _answers(task_app_url):
        yield False
        return
    how = launch.get("task_app")
    if not isinstance(how, Mapping):
        raise UnreachableError(
            f"The task app at {task_app_url} does not answer.", "Start it: mipro-walk task-app start"
        )
    process = _start_task_app(how, task_app_url)
    try:
        yield True
    finally:
        process.stop()


def require_task_app(url: str, key: str | None) -> None:
    """Raise unless the task app answers and, if a key is given, takes it."""
    from mipro_walk.clients.task_app import TaskAppClient

    with contextlib.closing(TaskAppClient(url, key or "", rollout_timeout_seconds=5.0)) as client:
        health = client.health()
    if key and health.get("authorized") is False:
        raise KeyMissingError(f"The task app at {url} refused the key.", "Set ENVIRONMENT_API_KEY to the key it has.")


def _answers(url: str) -> bool:
    try:
        require_task_app(url, None)
    except UnreachableError:
        return False
    except KeyMissingError:
        return True
    return True


def _start_task_app(how: Mapping[str, Any], url: str) -> ManagedProcess:
    from mipro_walk.paths import home
    from mipro_walk.processes import start_process

    key_file = Path(str(how.get("key_file", "")))
    key = os.environ.get("ENVIRONMENT_API_KEY", "").strip() or read_key_file(key_file)
    if not key:
        raise KeyMissingError(
            f"The task app's key is not in {key_file} any more.", "Set ENVIRONMENT_API_KEY, or submit a new job."
        )
    arguments = ["--port", str(how.get("port") or urlsplit(url).port or 8002)]
    if how.get("data"):
        arguments += ["--data", str(how["data"])]
    elif how.get("source") in ("sample", "hub"):
        arguments += ["--source", str(how["source"])]
    process = start_process(
        TASK_APP_NAME,
        "task_apps.banking77",
        arguments,
        env={"ENVIRONMENT_API_KEY": key},
        log_path=home() / "task_app.log",
    )
    _wait_for(process, url)
    return process


def _wait_for(process: ManagedProcess, url: str) -> None:
    import time

    deadline = time.monotonic() + TASK_APP_READY_SECONDS
    while time.monotonic() < deadline and process.is_alive():
        if _answers(url):
            process.set_url(url)
            return
        time.sleep(0.1)
    failure = process.failure()
    process.stop()
    raise failure


# ---- terminal


def chosen_display(option: str | None, console: Console) -> str:
    """Return the display: option, environment, else rich on a capable terminal and plain elsewhere."""
    from mipro_walk.cli.live_displays import DISPLAYS

    name = option or os.environ.get(DISPLAY_VARIABLE)
    if name and name not in DISPLAYS:
        raise ConfigError(f"There is no display {name!r}.", f"Use one of: {', '.join(DISPLAYS)}.")
    can_move = console.is_terminal and not console.is_dumb_terminal and not os.environ.get("CI")
    return name or ("rich" if can_move else "plain")


def complete_job_id(incomplete: str) -> list[str]:
    """Return job ids for shell completion, newest first: read from the ledger file, nothing is started for a Tab."""
    from mipro_walk.paths import home

    try:
        path = home() / "ledger.sqlite3"
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.2)) as connection:
            rows = connection.execute("SELECT job_id FROM jobs ORDER BY number DESC LIMIT 200").fetchall()
    except (sqlite3.Error, MiproWalkError, OSError):
        return []
    return [str(row[0]) for row in rows if str(row[0]).startswith(incomplete)]
