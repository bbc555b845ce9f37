"""Real servers on loopback: the task app under test, and a model endpoint that follows a script."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from task_apps.banking77.app import create_app
from task_apps.banking77.data import Row, SourceInfo, TaskData, build_task_data
from task_apps.serving.settings import Settings
from tests.fakes.serving import served

KEY = "0123456789abcdef" * 4
LABELS = ("card_arrival", "card_payment_wrong_exchange_rate", "exchange_rate", "Refund_not_showing_up")


@dataclass
class Seen:
    """One request as the scripted model got it."""

    target: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class ScriptedModel:
    """Answers every request with `answer(request)`, and remembers what it was asked."""

    url: str = ""
    answer: Callable[[Request], Any] = lambda _: completion("card_arrival")
    seen: list[Seen] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        raw = await request.body()
        target = scope["raw_path"].decode() + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        self.seen.append(Seen(target, dict(request.headers), json.loads(raw) if raw else {}))
        answer = self.answer(request)
        if hasattr(answer, "__await__"):
            answer = await answer
        await answer(scope, receive, send)

    def says(self, content: str | None = None, **message: Any) -> None:
        """Answer every request with this text or message from now on."""
        body = completion(content, **message)
        self.answer = lambda _: body


def completion(content: str | None, **message: Any) -> Response:
    """An OpenAI chat completion with one choice."""
    return raw_json({"choices": [{"index": 0, "message": {"role": "assistant", "content": content, **message}}]})


def raw_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON in ASCII, so that lone surrogates travel as escapes."""
    return Response(json.dumps(value), status, headers, media_type="application/json")


def tool_call(arguments: Any, name: str = "classify_intent") -> dict[str, Any]:
    """One tool call as OpenAI writes it."""
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


def make_rows(split: str, per_label: int, labels: tuple[str, ...] = LABELS) -> list[Row]:
    """Rows sorted by label, as Banking77's files are."""
    return [Row(f"{split} question {n} about {label}", label) for label in labels for n in range(per_label)]


def make_data(labels: tuple[str, ...] = LABELS, train: int = 6, val: int = 3, test: int = 4) -> TaskData:
    """A small task with all three splits."""
    raw = {
        "train": make_rows("train", train, labels),
        "val": make_rows("val", val, labels),
        "test": make_rows("test", test, labels),
    }
    return build_task_data(SourceInfo("path", "made for tests", "none"), raw)


class Kit:
    """Names that several test files use; pytest's importlib mode lets them import nothing from here."""

    key = KEY
    labels = LABELS
    serve = staticmethod(served)
    completion = staticmethod(completion)
    raw_json = staticmethod(raw_json)
    tool_call = staticmethod(tool_call)
    make_rows = staticmethod(make_rows)
    make_data = staticmethod(make_data)


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()


@pytest.fixture(scope="session")
def _model_server() -> Iterator[ScriptedModel]:
    scripted = ScriptedModel()
    with served(scripted) as url:
        scripted.url = url
        yield scripted


@pytest.fixture
def model(_model_server: ScriptedModel) -> ScriptedModel:
    _model_server.seen.clear()
    _model_server.says("card_arrival")
    return _model_server


@pytest.fixture(scope="session")
def app_url() -> Iterator[str]:
    settings = Settings(KEY, aliases=("alias-" + "a" * 32,), instance_id="test-instance")
    with served(create_app(settings, make_data()), h11_max_incomplete_event_size=256 * 1024) as url:
        yield url


@pytest.fixture
def client(app_url: str) -> Iterator[httpx.Client]:
    """A caller with the right key."""
    with httpx.Client(base_url=app_url, headers={"X-API-Key": KEY}, trust_env=False, timeout=20) as caller:
        yield caller


@pytest.fixture
def stranger(app_url: str) -> Iterator[httpx.Client]:
    """A caller without a key."""
    with httpx.Client(base_url=app_url, trust_env=False, timeout=20) as caller:
        yield caller


@pytest.fixture
def rollout(client: httpx.Client, model: ScriptedModel) -> Callable[..., httpx.Response]:
    """Post one rollout against the scripted model."""

    def post(
        seed: int = 0, *, mode: str | None = None, env: dict[str, Any] | None = None, **config: Any
    ) -> httpx.Response:
        policy: dict[str, Any] = {"config": {"inference_url": model.url + "/v1", "model": "m", **config}}
        if mode is not None:
            policy["output_mode"] = mode
        body = {
            "run_id": "run",
            "env": {"seed": seed, "config": env or {}},
            "policy": policy,
            "ops": [],
            "mode": "eval",
        }
        return client.post("/rollout", json=body)

    return post


@pytest.fixture(scope="session")
def real_folder() -> Path:
    folder = Path(__file__).parents[2].parent / "shared" / "banking77"
    if not (folder / "test.csv").is_file():
        pytest.skip("the published Banking77 files are not beside the repository")
    return folder
