"""Real servers for backend tests: a scripted model, the Banking77 task app on its sample, the backend as a process."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mipro_walk.clients.backend import BackendClient
from mipro_walk.config import get_profile
from mipro_walk.errors import UnreachableError
from mipro_walk.paths import backend_key, home
from mipro_walk.processes import ManagedProcess, listening_port, start_process
from tests.fakes.openai_server import ScriptedOpenAI, keyword_answer

START_SECONDS = 30.0


@dataclass
class Stage:
    """Everything a job needs, on loopback. ``answer`` may be replaced while it runs."""

    folder: Path
    model: ScriptedOpenAI
    task_app_key: str = field(default_factory=lambda: secrets.token_hex(32))
    backend: ManagedProcess | None = None
    task_app: ManagedProcess | None = None
    task_app_url: str = ""
    clients: list[BackendClient] = field(default_factory=list)

    def start_task_app(self, port: int = 0, data: Path | None = None) -> None:
        self.task_app = start_process(
            "task-app",
            "task_apps.banking77",
            ["--port", str(port), *(["--data", str(data)] if data else [])],
            env={"ENVIRONMENT_API_KEY": self.task_app_key},
            log_path=self.folder / "task_app.log",
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and not (found := listening_port(self.task_app.pid)):
            time.sleep(0.05)
        self.task_app_url = f"http://127.0.0.1:{found}"

    def start_backend(self, **env: str) -> BackendClient:
        self.backend = start_process(
            "backend",
            "mipro_walk.backend",
            ["--port", "0"],
            env={"OPENAI_API_KEY": self.model.key, "OPENAI_BASE_URL": self.model.base_url, **env},
            log_path=self.folder / "backend.log",
            ready_seconds=START_SECONDS,
        )
        client = BackendClient(self.backend.url, backend_key(home()))
        self.clients.append(client)
        client.register_environment_key(self.task_app_key)
        return client

    def kill_backend(self) -> None:
        assert self.backend is not None
        os.kill(self.backend.pid, signal.SIGKILL)
        while self.backend.is_alive():
            time.sleep(0.01)
        self.backend.stop()

    def document(self, **mipro: Any) -> dict[str, Any]:
        section = {**get_profile("walkthrough").document["prompt_learning"], "task_app_url": self.task_app_url}
        section["env_config"] = {"num_intents": 10}
        pools = {"bootstrap_train_seeds": list(range(40)), "online_pool": list(range(30)), "test_pool": list(range(40))}
        section["mipro"] = {**section["mipro"], **pools, "test_size": 40, "num_demos": 5, **mipro}
        return {"prompt_learning": section}


def scripted_answer(body: dict[str, Any]) -> str:
    """Answer as the policy model, or as the meta-model when asked for an instruction."""
    system = body["messages"][0]["content"]
    if system.startswith(("You improve", "You describe")):
        return f"Look for what the customer wants, part {len(body['messages'][1]['content']) % 7919}."
    return keyword_answer(body)


def wait_for(client: BackendClient, job_id: str, *statuses: str, seconds: float = 180.0) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            status = client.status(job_id)
        except UnreachableError:
            status = {"status": "unreachable"}
        if status["status"] in statuses:
            return status
        if status["status"] in {"succeeded", "failed", "cancelled"}:
            break
        time.sleep(0.05)
    raise AssertionError(f"still {status}")


def submit_and_kill(stage: Stage, client: BackendClient, document: dict[str, Any], delays: Iterator[float]) -> Any:
    """Submit a job, kill its backend after each delay; return the last client and the job's id once it has ended."""
    job_id = client.submit(document)
    for delay in delays:
        time.sleep(delay)
        stage.kill_backend()
        client = stage.start_backend()
    wait_for(client, job_id, "succeeded")
    return client, job_id


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """Give a stage on which nothing runs yet but the model; what is started on it ends with it."""
    with ScriptedOpenAI(answer=scripted_answer) as model:
        built = Stage(folder, model)
        yield built
        for client in built.clients:
            client.close()
        for process in (built.backend, built.task_app):
            if process is not None:
                process.stop()


@pytest.fixture
def model():
    with ScriptedOpenAI(answer=scripted_answer) as server:
        yield server


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.setenv("MIPRO_WALK_HOME", str(tmp_path / "home"))
    with staged(tmp_path) as built:
        built.start_task_app()
        yield built
