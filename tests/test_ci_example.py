"""The GitHub Actions example of docs/ci.md: it parses, hands no key to a command, and its commands do what is said."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import tomli_w
import yaml

from tests.cli.terminal import clean_environment
from tests.fakes.openai_server import ScriptedOpenAI

PROJECT = Path(__file__).parent.parent
SAMPLE = PROJECT / "task_apps" / "banking77" / "sample" / "banking_queries.csv"
ROWS = 20
GOOD, BAD = "Choose the intent that fits best.", "Always answer with something."
EXPRESSION = re.compile(r"\$\{\{\s*([\w.]+)\s*\}\}")

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="the example calls git")


def workflow() -> dict[Any, Any]:
    (text,) = re.findall(r"```yaml\n(.*?)```", (PROJECT / "docs" / "ci.md").read_text(encoding="utf-8"), re.DOTALL)
    found: dict[Any, Any] = yaml.safe_load(text)
    return found


def the_job() -> dict[str, Any]:
    (job,) = workflow()["jobs"].values()
    return dict(job)


def commands() -> list[str]:
    return [step["run"] for step in the_job()["steps"] if "run" in step]


def used(action: str) -> dict[str, Any]:
    (step,) = (step for step in the_job()["steps"] if step.get("uses", "").startswith(f"{action}@"))
    return dict(step)


# ---- as text


def test_it_runs_on_pull_requests_and_may_only_read() -> None:
    found = workflow()
    assert set(found) == {"name", True, "permissions", "jobs"}  # YAML 1.1 reads the key `on` as true
    assert found[True] == ["pull_request"]
    assert found["permissions"] == {"contents": "read"}
    assert set(the_job()) == {"runs-on", "env", "steps"}


@pytest.mark.parametrize("step", the_job()["steps"], ids=lambda step: str(step.get("uses") or step.get("run"))[:30])
def test_a_step_uses_an_action_of_a_major_version_or_runs_a_command(step: dict[str, Any]) -> None:
    assert ("uses" in step) != ("run" in step)
    assert set(step) <= {"uses", "with", "if", "run"}
    if "uses" in step:
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])


def test_secrets_travel_in_the_environment_and_never_in_a_command() -> None:
    job = the_job()
    secrets = {name: text for name, text in job["env"].items() if "secrets." in text}
    assert secrets == {"OPENAI_API_KEY": "${{ secrets.OPENAI_API_KEY }}"}
    assert not [step for step in job["steps"] if "secrets." in str(step)]
    assert not [text for text in commands() if EXPRESSION.search(text)]  # nobody's text is put into a shell


def test_what_is_cached_and_uploaded_is_what_the_commands_write() -> None:
    job = the_job()
    assert job["env"]["MIPRO_WALK_HOME"] == "${{ github.workspace }}/" + used("actions/cache")["with"]["path"]
    words = shlex.split(commands()[-1])
    assert used("actions/upload-artifact")["with"]["path"] == words[words.index("--junit") + 1]
    assert used("actions/upload-artifact")["if"] == "always()"
    assert used("actions/checkout")["with"]["fetch-depth"] == 0  # `git show origin/main` needs the other branch


def test_it_installs_this_package_on_a_python_that_it_supports() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert commands()[0] == f"pip install {project['name']}"
    least = tuple(map(int, project["requires-python"].removeprefix(">=").split(".")))
    assert tuple(map(int, used("actions/setup-python")["with"]["python-version"].split("."))) >= least


# ---- for real


class Runner:
    """A checkout of a pull request, and what GitHub would do with the `run:` steps in it."""

    def __init__(self, folder: Path, server: ScriptedOpenAI) -> None:
        self.server, self.workspace = server, folder / "checkout"
        origin = folder / "origin"
        (origin / "prompts").mkdir(parents=True)
        section = {
            "policy": {"provider": "openai", "model": "gpt-4o-mini"},
            "mipro": {"test_size": ROWS, "test_split": "test", "max_retries": 0},
            "env_config": {"num_intents": 10},
        }
        (origin / "prompts" / "mipro_config.toml").write_text(tomli_w.dumps({"prompt_learning": section}))
        self._save(origin, GOOD)
        self._git("init", "--quiet", "--initial-branch=main", cwd=origin)
        self._git("add", ".", cwd=origin)
        self._git("commit", "--quiet", "--message=Prompt", cwd=origin)
        self._git("clone", "--quiet", str(origin), str(self.workspace), cwd=folder)

    def propose(self, instruction: str) -> None:
        """Change the prompt, as a pull request does."""
        self._save(self.workspace, instruction)

    def run(self, secret: str) -> list[int]:
        """Run the steps after the installation until one fails; return their exit codes."""
        known = {"github.workspace": str(self.workspace), "secrets.OPENAI_API_KEY": secret}
        job_environment = {
            name: EXPRESSION.sub(lambda found: known[found[1]], text) for name, text in the_job()["env"].items()
        }
        environment = clean_environment(self.workspace, OPENAI_BASE_URL=self.server.base_url) | job_environment
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        codes = []
        for text in commands()[1:]:
            done = subprocess.run(
                ["bash", "-e", "-c", text],
                cwd=self.workspace,
                env=environment,
                capture_output=True,
                text=True,
                timeout=180,
            )
            assert "Traceback" not in done.stderr
            assert self.server.key not in done.stdout + done.stderr
            codes.append(done.returncode)
            if done.returncode:
                break
        return codes

    def junit(self) -> ElementTree.Element:
        return ElementTree.parse(self.workspace / "eval.xml").getroot()

    @staticmethod
    def _save(folder: Path, instruction: str) -> None:
        document = {"schema_version": 1, "kind": "mipro_walk.best_prompt", "demonstrations": []}
        document |= {"instruction": {"role": "system", "content": instruction}}
        (folder / "prompts" / "best_prompt.json").write_text(json.dumps(document))

    @staticmethod
    def _git(*arguments: str, cwd: Path) -> None:
        somebody = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *somebody, *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        truth = {row["text"]: row["category"] for row in csv.DictReader(file)}

    def answer(body: dict[str, Any]) -> str:
        is_spoiled = BAD in body["messages"][0]["content"]
        return "no_such_intent" if is_spoiled else truth[body["messages"][-1]["content"]]

    with ScriptedOpenAI(answer=answer) as server:
        yield Runner(tmp_path, server)


def test_a_pull_request_with_a_good_prompt_passes_and_a_cached_home_pays_nothing_twice(runner: Runner) -> None:
    runner.propose(f"{GOOD} Mind the details.")
    assert runner.run(runner.server.key) == [0, 0]
    cases = [case.get("name") for case in runner.junit().iter("testcase")]
    assert cases == ["measured", "fail-under", "max-regression"]
    assert len(runner.server.requests) == 2 * ROWS
    assert runner.run(runner.server.key) == [0, 0]
    assert len(runner.server.requests) == 2 * ROWS


def test_a_pull_request_that_worsens_the_prompt_fails_and_names_the_rows(runner: Runner) -> None:
    runner.propose(BAD)
    assert runner.run(runner.server.key) == [0, 6]
    failures = list(runner.junit().iter("failure"))
    assert len(failures) == 2
    assert "test row " in (failures[-1].text or "")


def test_a_pull_request_from_a_fork_has_no_secret_and_ends_with_exit_4(runner: Runner) -> None:
    assert runner.run("") == [0, 4]
    assert runner.server.requests == []
    assert (runner.junit().get("errors"), runner.junit().get("failures")) == ("1", "0")
