"""What README.md and docs/task-app-api.md say is what the app does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from task_apps.banking77 import data
from task_apps.banking77.app import create_app
from task_apps.serving import app, documents, guards, policy
from task_apps.serving.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "task_apps" / "banking77" / "README.md").read_text(encoding="utf-8")
API = (ROOT / "docs" / "task-app-api.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    return [block for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) if "curl" in block]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_curl_example_of_the_readme_works_on_the_sample(model: Any, kit: Any) -> None:
    assert len(commands()) == 2
    with kit.serve(create_app(Settings(kit.key))) as url:
        for block in commands():
            script = block.replace("http://127.0.0.1:8002", url).replace("http://127.0.0.1:8080", model.url)
            environ = {"PATH": os.environ["PATH"], "ENVIRONMENT_API_KEY": kit.key}
            done = subprocess.run(["bash", "-e", "-c", script], env=environ, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["mean_return"] in (0.0, 1.0)


def test_every_route_and_no_other_is_documented(kit: Any) -> None:
    routes = {getattr(route, "path", "") for route in create_app(Settings(kit.key), kit.make_data()).routes}
    documented = set(re.findall(r"^\| (?:GET|POST)[A-Z, ]* `(/[a-z_]*)`", API, re.MULTILINE))
    assert routes == documented


def test_every_error_code_is_documented() -> None:
    sources = "".join(Path(module.__file__ or "").read_text() for module in (app, guards, policy))
    used = set(re.findall(r"(?:_Refused|error_response|UpstreamFailure)\(\s*\d+, \"(\w+)\"", sources))
    used |= set(re.findall(r"\"(upstream_\w+)\"", sources)) - {"upstream_status"}
    assert len(used) >= 14
    assert {code for code in used if f"`{code}`" not in API} == set()


def test_every_key_of_a_rollout_answer_is_documented(rollout: Any) -> None:
    body = rollout(0).json()
    parts = [body, body["metrics"], body["trajectories"][0], body["trajectories"][0]["steps"][0]]
    keys = {key for part in parts for key in part}
    assert {key for key in keys if not re.search(rf"\b{key}\b", API)} == set()


def test_named_slice_and_limits_in_the_text_are_those_of_the_code() -> None:
    assert all(f"`{label}`" in README for label in data.EVERYDAY_10)
    assert f"up to {documents.MAX_SEEDS:,}" in API
    assert f"at most {policy.MAX_DEADLINE_SECONDS:g}" in API
