"""The OpenAI API in front of a scripted engine: real HTTP on loopback."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from mipro_walk.local_model.app import MAX_BODY_BYTES, Settings, create_app
from mipro_walk.local_model.engine import QueueFullError, RequestRefusedError, Worker
from mipro_walk.local_model.service import main
from tests.fakes.serving import served

KEY = "test-key-é"
DEADLINE = 10.0
ENUM_FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"enum": ["yes", "no"]}}}
TOOL = {
    "type": "function",
    "function": {
        "name": "classify",
        "parameters": {
            "type": "object",
            "properties": {"intent": {"type": "string", "enum": ["yes", "no"]}},
            "required": ["intent"],
        },
    },
}


class ScriptedEngine:
    """Answers from ``script`` (a text, or an error to raise) and keeps what it was asked."""

    model = "scripted.gguf"
    threads = 1
    tokens_per_second = 12.34

    def __init__(self) -> None:
        self.history: list[dict[str, Any]] = []
        self.script: Callable[[dict[str, Any]], str] = lambda _request: "yes"
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        self.history.append(request)
        self.entered.set()
        assert self.gate.wait(DEADLINE)
        text = self.script(request)
        usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        details = {"prompt_tokens_details": {"cached_tokens": 5}}
        return {"id": "chatcmpl-1", "model": self.model, "choices": [choice], "usage": {**usage, **details}}


class Service:
    """The running service: its engine, queue and URL."""

    def __init__(self, engine: ScriptedEngine, worker: Worker, url: str) -> None:
        self.engine, self.worker, self.url = engine, worker, url

    def ask(self, **keys: Any) -> httpx.Response:
        return self.post(json.dumps({"messages": [{"role": "user", "content": "hi"}], **keys}).encode())

    def post(self, body: bytes, key: str = KEY) -> httpx.Response:
        headers = {b"authorization": f"Bearer {key}".encode()}
        return httpx.post(f"{self.url}/v1/chat/completions", content=body, headers=headers, timeout=DEADLINE)


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def service() -> Iterator[Service]:
    engine = ScriptedEngine()
    app = create_app(engine, Settings(KEY, queue_limit=2))
    with served(app) as url:
        yield Service(engine, app.state.worker, url)
        engine.gate.set()


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_health_is_open(service: Service) -> None:
    assert httpx.get(f"{service.url}/health").json() == {
        "status": "ok",
        "model": "scripted.gguf",
        "threads": 1,
        "tokens_per_second": 12.3,
        "waiting": 0,
    }


def test_a_plain_question_gets_text_usage_and_the_real_model_name(service: Service) -> None:
    answer = service.ask(model="gpt-4.1-nano").json()
    assert answer["model"] == "scripted.gguf"
    assert answer["choices"][0]["message"]["content"] == "yes"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 5}


@pytest.mark.parametrize("key", ["wrong", KEY + "x", "ключ"])
def test_a_wrong_key_is_refused_before_the_body_is_looked_at(service: Service, key: str) -> None:
    assert error_of(service.post(b"not json", key), 401)["code"] == "invalid_api_key"
    assert service.engine.history == []


def test_models_needs_the_key_too(service: Service) -> None:
    error_of(httpx.get(f"{service.url}/v1/models"), 401)
    headers = {b"authorization": f"bearer {KEY}".encode()}
    (model,) = httpx.get(f"{service.url}/v1/models", headers=headers).json()["data"]
    assert model["id"] == "scripted.gguf"


def test_unknown_paths_and_methods_answer_in_the_same_error_shape(service: Service) -> None:
    error_of(httpx.get(f"{service.url}/nowhere"), 404)
    error_of(httpx.get(f"{service.url}/v1/chat/completions"), 405)


@pytest.mark.parametrize(
    ("keys", "param"),
    [
        ({"stream": True}, "stream"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"functions": [{}]}, "functions"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"grammar": 'root ::= "a"', "response_format": {"type": "json_object"}}, "grammar"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice",
        ),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(service: Service, keys: dict[str, Any], param: str) -> None:
    assert error_of(service.ask(**keys), 400)["param"] == param
    assert service.engine.history == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"messages":[{"role":"user","content":"\\ud800"}]}'])
def test_a_body_that_is_no_request_is_a_400(service: Service, body: bytes) -> None:
    error_of(service.post(body), 400)


def test_a_body_above_the_limit_is_a_413(service: Service) -> None:
    error_of(service.ask(user="x" * MAX_BODY_BYTES), 413)


def test_a_body_without_a_length_is_limited_too(service: Service) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * (MAX_BODY_BYTES + 1)

    headers = {b"authorization": f"Bearer {KEY}".encode()}
    url = f"{service.url}/v1/chat/completions"
    error_of(httpx.post(url, content=chunks(), headers=headers, timeout=DEADLINE), 413)


def test_the_engine_is_asked_in_its_own_words(service: Service) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "developer", "content": "s"}, {"role": "user", "content": parts}]
    service.ask(messages=messages, max_completion_tokens=9, seed=-1, top_p=0.5, stop="x", user="me", store=True)
    assert service.engine.history[-1] == {
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a\nb"}],
        "max_tokens": 9,
        "seed": 2**32 - 1,
        "top_p": 0.5,
        "stop": "x",
    }


def test_an_unlimited_answer_is_limited(service: Service) -> None:
    service.ask()
    assert service.engine.history[-1]["max_tokens"] == 512


def test_a_forced_enum_tool_is_answered_as_a_tool_call(service: Service) -> None:
    answer = service.ask(tools=[TOOL], tool_choice="required").json()
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "classify", "arguments": '{"intent": "yes"}'}
    assert service.engine.history[-1]["grammar"] == 'root ::= "yes" | "no"'
    assert "tools" not in service.engine.history[-1]


def test_an_enum_schema_is_answered_as_json_text(service: Service) -> None:
    message = service.ask(response_format=ENUM_FORMAT).json()["choices"][0]["message"]
    assert message["content"] == '"yes"'


def test_an_answer_that_was_cut_off_is_not_wrapped(service: Service) -> None:
    service.engine.script = lambda _request: "ye"
    assert service.ask(response_format=ENUM_FORMAT).json()["choices"][0]["message"]["content"] == "ye"


def test_what_the_engine_refuses_is_a_400(service: Service) -> None:
    def refuse(_request: dict[str, Any]) -> str:
        raise RequestRefusedError("The prompt has 9000 tokens", code="context_length_exceeded")

    service.engine.script = refuse
    assert error_of(service.ask(), 400)["code"] == "context_length_exceeded"


def test_a_failing_engine_is_a_500_and_the_next_question_is_answered(service: Service) -> None:
    def fail(_request: dict[str, Any]) -> str:
        raise RuntimeError("llama.cpp failed: out of memory")

    service.engine.script = fail
    assert "out of memory" in error_of(service.ask(), 500)["message"]
    service.engine.script = lambda _request: "well"
    assert service.ask().json()["choices"][0]["message"]["content"] == "well"


def test_a_full_queue_is_a_429_with_a_time_to_wait(service: Service) -> None:
    service.engine.gate.clear()
    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(service.ask)
        assert service.engine.entered.wait(DEADLINE)
        waiting = [pool.submit(service.ask) for _ in range(2)]
        wait_until(lambda: service.worker.waiting == 2)
        refused = service.ask()
        assert error_of(refused, 429)["code"] == "queue_full"
        assert int(refused.headers["retry-after"]) >= 1
        service.engine.gate.set()
        assert [one.result().status_code for one in (running, *waiting)] == [200, 200, 200]


def test_the_service_answers_health_while_the_model_thinks(service: Service) -> None:
    service.engine.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(service.ask)
        assert service.engine.entered.wait(DEADLINE)
        assert httpx.get(f"{service.url}/health").status_code == 200
        service.engine.gate.set()
        assert running.result().status_code == 200


def test_a_client_that_leaves_loses_its_place_in_the_queue(service: Service) -> None:
    service.engine.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(service.ask, model="first")
        assert service.engine.entered.wait(DEADLINE)
        body = json.dumps({"messages": [{"role": "user", "content": "leaver"}]}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
        with socket.create_connection(("127.0.0.1", httpx.URL(service.url).port)) as leaver:
            leaver.sendall(f"{head}authorization: Bearer {KEY}\r\n\r\n".encode() + body)
            wait_until(lambda: service.worker.waiting == 1)
        wait_until(lambda: service.worker.waiting == 0)
        service.engine.gate.set()
        assert running.result().status_code == 200
    assert service.ask().status_code == 200
    assert "leaver" not in json.dumps(service.engine.history)


def test_requests_are_served_in_order_of_arrival() -> None:
    engine = ScriptedEngine()
    engine.gate.clear()
    worker = Worker(engine)
    futures = [worker.submit({"n": n}) for n in range(20)]
    engine.gate.set()
    for future in futures:
        future.result(DEADLINE)
    assert [one["n"] for one in engine.history] == list(range(20))
    worker.close()


def test_cancelled_requests_make_room_in_the_queue() -> None:
    engine = ScriptedEngine()
    engine.gate.clear()
    worker = Worker(engine, queue_limit=2)
    worker.submit({})
    assert engine.entered.wait(DEADLINE)
    waiting = [worker.submit({}) for _ in range(2)]
    with pytest.raises(QueueFullError):
        worker.submit({})
    assert waiting[1].cancel()
    worker.submit({})
    worker.close()
    engine.gate.set()


def test_closing_cancels_what_waits() -> None:
    engine = ScriptedEngine()
    engine.gate.clear()
    worker = Worker(engine)
    worker.submit({})
    assert engine.entered.wait(DEADLINE)
    waiting = worker.submit({})
    worker.close()
    assert waiting.cancelled()
    engine.gate.set()


def test_the_key_never_shows_in_the_settings() -> None:
    assert KEY not in repr(Settings(KEY))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--host", "0.0.0.0"], 2, "not a loopback address"),
        (["--host", "example.org"], 2, "not an IP address"),
        (["--port", "70000"], 2, "--port 70000"),
        (["--port", "0", "--threads", "0"], 2, "--threads 0"),
        (["--port", "0", "--model-path", "/nowhere/x.gguf"], 2, "Cannot read"),
    ],
)
def test_wrong_arguments_are_told_without_a_traceback(
    arguments: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MIPRO_WALK_LOCAL_MODEL_KEY", KEY)
    assert main(arguments) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert "fix:" in shown
    assert "Traceback" not in shown


def test_a_missing_key_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("MIPRO_WALK_LOCAL_MODEL_KEY", raising=False)
    assert main([]) == 4
    assert "MIPRO_WALK_LOCAL_MODEL_KEY is not set" in capsys.readouterr().err


def test_a_port_in_use_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MIPRO_WALK_LOCAL_MODEL_KEY", KEY)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--port", str(taken.getsockname()[1])]) == 3
    assert "--port 0" in capsys.readouterr().err
