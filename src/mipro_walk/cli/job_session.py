"""What the job commands share: the backend to talk to, the task app a job needs, the display."""

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
    from mipro_walk.walkthrough.services import Services, TaskApp

DISPLAY_VARIABLE = "MIPRO_WALK_DISPLAY"
KEY_VARIABLE = "ENVIRONMENT_API_KEY"
KEY_FILE = "env_key.txt"
MAX_COMPLETIONS = 200


@dataclass(frozen=True, slots=True)
class JobBackend:
    """An open backend. ``is_ours`` tells that this process started it; it ends it, unless it was to outlive us."""

    client: BackendClient
    is_ours: bool
    services: Services


@contextlib.contextmanager
def open_backend(url: str | None = None, *, outlives_us: bool = False) -> Iterator[JobBackend]:
    """Talk to the backend at ``url``, else to the local one that runs, else to a local one started for this.

    Args:
        outlives_us: start it detached, for jobs nobody waits for and pages that stay open.

    Raises:
        KeyMissingError: ``url`` is given and SYNTH_API_KEY is not set.
        MiproWalkError: it does not start or answer.
    """
    from mipro_walk.walkthrough.services import Services

    is_left_running = url is None and outlives_us and _leave_a_backend_running()
    services = Services(os.environ, backend_url=url)
    try:
        client = services.backend()
        yield JobBackend(client, services.started_backend or is_left_running, services)
    finally:
        services.close()


def _leave_a_backend_running() -> bool:
    """Return whether there was none and one was started."""
    from mipro_walk.paths import backend_key, home
    from mipro_walk.walkthrough.services import running_backend, start_backend

    if running_backend(backend_key(home())) is not None:
        return False
    start_backend(os.environ, detached=True).release()
    return True


# ---- task app


def task_app_key(config: RunConfig, config_path: Path) -> str | None:
    """Return the task app's key: environment, configuration, or the key file beside it; ``None`` if nowhere."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if key:
        return key
    if config.task_app_api_key is not None:
        return config.task_app_api_key.get_secret_value()
    return _read_key(config_path.parent / KEY_FILE)


def require_task_app(url: str, key: str | None) -> None:
    """Raise unless the task app answers and, if a key is given, takes it."""
    from mipro_walk.clients.task_app import TaskAppClient

    # Health is open; without a key something has to stand in the header.
    with contextlib.closing(TaskAppClient(url, key or "none", rollout_timeout_seconds=5.0)) as client:
        health = client.health()
    if key and health.get("authorized") is False:
        raise KeyMissingError(f"The task app at {url} refused the key.", f"Set {KEY_VARIABLE} to the key it has.")


def start_project_app(services: Services, config: RunConfig, project: Path, key: str, *, detached: bool) -> TaskApp:
    """Return the task app of a project at the address of its configuration, started unless it answers there.

    Raises:
        UnreachableError: something else answers there, or it does not start.
    """
    from mipro_walk.paths import home
    from mipro_walk.walkthrough.services import TaskApp, port_holder

    port = urlsplit(config.task_app_url).port or 80
    holder = port_holder(port, key, str(project))
    if holder is None:
        return services.start_task_app(key, port, str(project), home() / "task_app.log", detached=detached)
    if not holder.is_usable:
        raise UnreachableError(
            f"Port {port} is taken by {holder}, which is not the task app of {project} with this key.",
            "Stop it, or name another port in task_app_url.",
        )
    return TaskApp(holder.url, None, False)


def ensure_task_app(services: Services, launch: Mapping[str, Any], url: str) -> None:
    """Make sure that the task app a job needs answers; one that was ours is started again, with the same data.

    Raises:
        UnreachableError: it does not answer, and nothing is known of how to start it.
        KeyMissingError: its key is gone.
    """
    from mipro_walk.paths import home

    if _answers(url):
        return
    how = launch.get("task_app")
    if not isinstance(how, Mapping):
        start = f"mipro-walk task-app start --port {urlsplit(url).port or 8002}"
        raise UnreachableError(f"The task app at {url} does not answer.", f"Start it with the same data: {start}")
    key_file = Path(str(how.get("key_file") or KEY_FILE))
    key = os.environ.get(KEY_VARIABLE, "").strip() or _read_key(key_file)
    if not key:
        raise KeyMissingError(f"There is no key for the task app in {key_file}.", f"Set {KEY_VARIABLE}.")
    port = int(how.get("port") or urlsplit(url).port or 0)
    data = str(how.get("project") or how.get("data") or how.get("source") or "sample")
    services.start_task_app(key, port, data, home() / "task_app.log")


def _answers(url: str) -> bool:
    try:
        require_task_app(url, None)
    except UnreachableError:
        return False
    except KeyMissingError:
        return True
    return True


def _read_key(path: Path) -> str | None:
    from mipro_walk.paths import read_private

    data = read_private(path)
    return None if data is None else data.decode("ascii", "replace").strip() or None


# ---- terminal


def chosen_display(option: str | None, console: Console) -> str:
    """Return the display: option, environment, else rich on a capable terminal and plain elsewhere.

    Raises:
        ConfigError: there is none of that name.
    """
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
            rows = connection.execute("SELECT job_id FROM jobs ORDER BY number DESC LIMIT ?", (MAX_COMPLETIONS,))
            return [str(row[0]) for row in rows if str(row[0]).startswith(incomplete)]
    except (sqlite3.Error, MiproWalkError, OSError):
        return []
