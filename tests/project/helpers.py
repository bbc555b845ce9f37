"""A scripted model that knows a project's answers: right more often with demonstrations, always the same way."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mipro_walk.config import load_config
from mipro_walk.project.loading import Project, load_project
from mipro_walk.project.samples import copy_sample
from mipro_walk.project.scorers.judged import JUDGE_SYSTEM
from tests.fakes.openai_server import Scripted

SMALL = {"num_iterations": 4, "num_bootstrap_seeds": 1, "num_instructions_per_module": 2, "num_demo_sets": 4}


def sample(kind: str, folder: Path) -> Project:
    copy_sample(kind, folder)
    return load_project(folder)


def document(folder: Path, url: str = "http://127.0.0.1:8002", **mipro: Any) -> dict[str, Any]:
    """Return the configuration of a sample for a scripted model."""
    section = load_config(folder / "mipro_config.toml").as_dict()["prompt_learning"]
    section["task_app_url"] = url
    section["policy"] |= {"provider": "openai", "model": "gpt-4o-mini"}
    section["policy"].pop("base_url", None)
    changed = section["mipro"] | SMALL | {"test_size": 12, "num_demos": 2, "ablation_size": 0, "max_concurrent": 4}
    section["mipro"] = changed | {"meta_model": "gpt-4o-mini", "meta_model_provider": "openai", **mipro}
    section["termination_config"] |= {"budget": 30}
    return {"prompt_learning": section}


class Script:
    """Answers policy, meta-model and judge of one project."""

    def __init__(self, project: Project) -> None:
        self._targets = {row.query: row.target for rows in project.rows.values() for row in rows}
        self._project = project
        self.fixed = "".join(f"\n{part}" for part in project.definition.fixed)

    def __call__(self, body: dict[str, Any]) -> Any:
        system = body["messages"][0]["content"]
        if system.startswith("You improve"):
            return f"Look at what matters, part {number(body['messages'][1]['content'], 7919)}.{self.fixed}"
        if system.startswith("You describe"):
            return "Short texts with their answers."
        if system.startswith(JUDGE_SYSTEM[:20]):
            rating = 1 + number(body["messages"][1]["content"], 5)
            return Scripted(message={"role": "assistant", "content": json.dumps({"rating": str(rating)})})
        query = body["messages"][-1]["content"]
        demos = sum(message["role"] == "user" for message in body["messages"]) - 1
        is_right = number(system + query, 100) < 30 + 20 * demos
        target = self._targets[query]
        others = sorted(set(self._targets.values()) - {target})
        answer = target if is_right else others[number(query, len(others))]
        return Scripted(message={"role": "assistant", "content": in_form(self._project.definition.kind, answer, body)})


def in_form(kind: str, target: str, body: dict[str, Any]) -> str:
    """Return an answer as the request asks for it."""
    if "response_format" not in body:
        return target
    if kind == "extraction":
        return target
    name = next(iter(body["response_format"]["json_schema"]["schema"]["properties"]))
    return json.dumps({name: json.loads(target) if kind == "multi_label" else target.split(";")[0]})


def number(text: str, below: int) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % below
