"""`optimize`, `task-app`, `train`, `resume` and `run` on a project, by the real program."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import tomli_w

from tests.cli.terminal import clean_environment
from tests.fakes.openai_server import DEFAULT_KEY, Scripted, ScriptedOpenAI
from tests.project.helpers import Script, document, sample

KEY = "0123456789abcdef" * 4


class Person:
    """A project of one's own, a home, a model endpoint on this machine."""

    def __init__(self, folder: Path, kind: str, server: ScriptedOpenAI) -> None:
        self.folder, self.server, self.task = folder, server, folder / "my-task"
        self.project = sample(kind, self.task)
        server.answer = Script(self.project)
        self.port = free_port()
        config = document(self.task, f"http://127.0.0.1:{self.port}")
        (self.task / "mipro_config.toml").write_text(tomli_w.dumps(config))

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(
            self.folder / "home",
            OPENAI_API_KEY=DEFAULT_KEY,
            OPENAI_BASE_URL=self.server.base_url,
            MIPRO_WALK_WORKDIR=str(self.folder / "work"),
            TMPDIR=str(self.folder),
        )

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-P", "-m", "mipro_walk", *map(str, arguments)]

    def run(self, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            cwd=self.folder,
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def person(tmp_path):
    with ScriptedOpenAI() as server:
        made = Person(tmp_path, "extraction", server)
        yield made
        made.run("stop")


def test_optimize_takes_a_project_and_writes_its_results(person):
    done = person.run("optimize", "my-task", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"]["test"]["n"] == 12
    best = json.loads((person.task / "results" / "best_prompt.json").read_text())
    assert best["task"] == "calendar-notes"
    assert best["pinned"] is None or best["pinned"]["n"] == 2
    shown = person.run("optimize", "my-task/mipro_config.toml", "--yes")
    assert shown.returncode == 0, shown.stderr
    assert "to the policy model" in shown.stdout


def test_resume_names_the_command_that_goes_on_with_a_job_of_optimize(person, monkeypatch):
    answer, server = person.server.answer, person.server
    server.answer = lambda body: answer(body) if len(server.requests) < 20 else Scripted.error(500)
    paused = person.run("optimize", "my-task", "--yes", MIPRO_WALK_MAX_RETRIES="0")
    assert paused.returncode == 7, paused.stderr
    server.answer = answer
    asked = len(server.requests)
    for arguments in ([], [json.loads(person.run("jobs", "--json").stdout)["jobs"][0]["job_id"]]):
        refused = person.run("resume", *arguments)
        assert refused.returncode == 2, refused.stderr
        assert len(server.requests) == asked
        command = shlex.split(refused.stderr.split("Go on with: ")[1].splitlines()[0])
        assert command[:2] == ["mipro-walk", "optimize"]
    (person.folder / "elsewhere").mkdir()
    monkeypatch.chdir(person.folder / "elsewhere")
    done = person.run(*command[1:], "--yes", "--json", MIPRO_WALK_MAX_RETRIES="0")
    assert done.returncode == 0, done.stderr
    assert [json.loads(done.stdout)["job_id"]] == arguments


def test_a_broken_project_is_named_before_anything_is_asked(person):
    (person.task / "task.toml").write_text((person.task / "task.toml").read_text().replace('"note"', '"notes"'))
    done = person.run("optimize", "my-task", "--yes")
    assert done.returncode == 2
    assert "'notes'" in done.stderr
    assert "Traceback" not in done.stderr
    assert person.server.requests == []


def test_serve_in_the_foreground_until_ctrl_c(person):
    process = subprocess.Popen(
        person.command("task-app", "serve", "my-task", "--port", person.port),
        env=person.environment | {"ENVIRONMENT_API_KEY": KEY},
        stderr=subprocess.PIPE,
        text=True,
        cwd=person.folder,
    )
    url = f"http://127.0.0.1:{person.port}"
    try:
        health = wait_for_health(url, process)
        assert health["service"] == "calendar-notes"
        assert httpx.get(f"{url}/task_info").status_code == 401
        info = httpx.get(f"{url}/task_info", headers={"X-API-Key": KEY}).json()
        assert info["prompt"]["fixed"] == list(person.project.definition.fixed)
        assert info["splits"]["pinned"]["rows"] == 2
        assert info["kind"] == "extraction"
        row = httpx.get(f"{url}/task_info?split=pinned&seed=1", headers={"X-API-Key": KEY}).json()
        assert row["task_metadata"]["row"] == 3
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 130), said
    assert "Task app calendar-notes (extraction) on http://127.0.0.1" in said
    assert "Traceback" not in said


def test_started_in_the_background_it_is_known_to_status_info_and_stop(person):
    started = person.run("task-app", "start", "--project", "my-task", "--port", "0", "--json")
    assert started.returncode == 0, started.stderr
    url = json.loads(started.stdout)["url"]
    assert json.loads(person.run("task-app", "status", "--json").stdout)["url"] == url
    info = json.loads(person.run("task-app", "info", "--json").stdout)["info"]
    assert info["task_app_id"] == "calendar-notes"
    assert person.run("task-app", "stop").returncode == 0
    assert person.run("task-app", "status").returncode == 5


def test_a_folder_without_a_task_is_a_usage_error(person):
    for command in ("serve", "start"):
        arguments = ["elsewhere"] if command == "serve" else ["--project", "elsewhere"]
        done = person.run("task-app", command, *arguments)
        assert done.returncode == 2
        assert "task.toml" in done.stderr
        assert "mipro-walk init" in done.stderr


def test_train_starts_the_projects_app_and_resume_starts_it_again(person):
    script = person.server.answer
    person.server.answer = lambda body: script(body) if len(person.server.requests) < 30 else Scripted.error(500)
    config = person.task / "mipro_config.toml"
    config.write_text(config.read_text().replace("max_retries = 6", "max_retries = 0"))
    paused = person.run("train", "my-task", "--yes", "--display", "plain")
    assert paused.returncode == 7, paused.stderr
    person.server.answer = script
    done = person.run("resume", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"]["test"]["n"] == 12
    assert (person.task / "results" / "best_prompt.json").is_file()
    assert person.run("task-app", "status").returncode == 5  # what was started for a job ends with it


def test_train_refuses_another_task_on_the_port(person):
    started = person.run("task-app", "start", "--port", str(person.port))
    assert started.returncode == 0, started.stderr
    done = person.run("train", "my-task", "--yes")
    assert done.returncode == 5
    assert f"Port {person.port} is taken" in done.stderr


def test_the_six_steps_walk_through_a_project_with_its_own_configuration(person):
    done = person.run("run", "--non-interactive", "--yes", "--json", "--data", "my-task", "--task-app-port", "0")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["scores"]["test"]["n"] == 12
    copied = (person.folder / "work" / "mipro_config.toml").read_text()
    assert copied == (person.task / "mipro_config.toml").read_text()
    said = " ".join(done.stderr.split())
    assert "Takes the project's own" in said
    assert "intents" not in said  # those are Banking77's


def test_a_walk_through_a_project_refuses_what_its_configuration_does_not_say(person):
    done = person.run("run", "--dry-run", "--data", "my-task", "--task-app-port", "0", "--num-intents", "5")
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "--num-intents 5 was asked for" in said
    assert "A project is run as its file says" in said


def wait_for_health(url: str, process: subprocess.Popen[str]) -> dict[str, object]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return dict(httpx.get(f"{url}/health").json())
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError(process.communicate()[1])
