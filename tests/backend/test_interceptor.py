"""The interceptor as a task app meets it: over HTTP, in front of a real model server."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from mipro_walk.backend.interceptor import PREFIX, Interceptor, RolloutPolicy, create_router
from mipro_walk.clients.attempts import Attempt
from mipro_walk.clients.chat import ChatGateway
from mipro_walk.clients.endpoints import Endpoint
from mipro_walk.types import Candidate, Demonstration
from tests.fakes.openai_server import Scripted, ScriptedOpenAI
from tests.fakes.serving import served

BASELINE = "Classify the message."
CANDIDATE = Candidate("Name the intent.", (Demonstration("where is it", "card_arrival"),))
QUESTION = {
    "model": "whatever-the-app-thinks",
    "messages": [{"role": "system", "content": f"{BASELINE} Intents: a"}, {"role": "user", "content": "my query"}],
}


class Backend:
    """A served interceptor in front of a scripted model."""

    def __init__(
        self, model: ScriptedOpenAI, url: str, interceptor: Interceptor, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.model = model
        self.url = url
        self.interceptor = interceptor
        self.loop = loop
        self.attempts: list[Attempt] = []
        self.gateways: list[ChatGateway] = []
        self.gateway = self.make_gateway()
        self.client = httpx.Client(trust_env=False, timeout=20)

    def make_gateway(self, key: str | None = None, **options: Any) -> ChatGateway:
        endpoint = Endpoint("local", self.model.base_url, "policy-model", SecretStr(key or self.model.key))
        record: Callable[[Attempt], None] = self.attempts.append
        gateway = ChatGateway(endpoint, loop=self.loop, **{"max_retries": 0, "on_attempt": record, **options})
        self.gateways.append(gateway)
        return gateway

    def open(self, **options: Any) -> str:
        options = {"gateway": self.gateway, "policy": RolloutPolicy(0.0, 64), **options}
        return self.interceptor.open(CANDIDATE, BASELINE, **options)

    def ask(self, trial_id: str, body: Any = QUESTION, **options: Any) -> httpx.Response:
        options = options or {"json": body}
        return self.client.post(f"{self.url}{PREFIX}/{trial_id}/chat/completions?cid=trace_{trial_id}", **options)


@pytest.fixture
def backend() -> Iterator[Backend]:
    loops: list[asyncio.AbstractEventLoop] = []

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        loops.append(asyncio.get_running_loop())
        yield

    interceptor, app = Interceptor(), FastAPI(lifespan=lifespan)
    app.include_router(create_router(interceptor))
    with ScriptedOpenAI(lambda _body: "card_arrival") as model, served(app) as url:
        running = Backend(model, url, interceptor, loops[0])
        yield running
        running.client.close()
        for gateway in running.gateways:
            gateway.close_sync()


def test_the_model_gets_the_candidates_prompt_and_the_jobs_parameters(backend: Backend) -> None:
    body = {**QUESTION, "temperature": 1.5, "max_tokens": 9, "n": 5, "stream": False, "seed": 3}
    answer = backend.ask(backend.open(), body)
    assert answer.json()["choices"][0]["message"]["content"] == "card_arrival"
    assert backend.model.bodies == [
        {
            "model": "policy-model",
            "temperature": 0.0,
            "max_completion_tokens": 64,
            "seed": 3,
            "messages": [
                {"role": "system", "content": "Name the intent. Intents: a"},
                {"role": "user", "content": "where is it"},
                {"role": "assistant", "content": "card_arrival"},
                {"role": "user", "content": "my query"},
            ],
        }
    ]


def test_a_policy_may_leave_parameters_to_the_endpoint_and_name_a_model(backend: Backend) -> None:
    backend.ask(backend.open(policy=RolloutPolicy(None, None, "other-model")), {**QUESTION, "temperature": 1})
    [body] = backend.model.bodies
    assert set(body) == {"model", "messages"}
    assert body["model"] == "other-model"


def test_the_openai_client_of_a_task_app_works_against_it(backend: Backend) -> None:
    trial_id = backend.open()
    with openai.OpenAI(base_url=f"{backend.url}{PREFIX}/{trial_id}", api_key="task-app") as client:
        answer = client.chat.completions.create(**QUESTION)  # type: ignore[call-overload]
    assert answer.choices[0].message.content == "card_arrival"


def test_the_trace_tells_what_passed_through(backend: Backend) -> None:
    trial_id = backend.open(tag="row 7")
    backend.ask(trial_id)
    trace = backend.interceptor.close(trial_id)
    assert trace is not None
    [exchange] = trace.exchanges
    assert exchange.messages[0]["content"] == "Name the intent. Intents: a"
    assert exchange.response == "card_arrival"
    assert [attempt.tag for attempt in exchange.attempts] == ["row 7"]
    assert list(exchange.attempts) == backend.attempts
    assert (trace.usage.calls, trace.usage.cost_usd, trace.failure) == (1, 0.0, None)
    assert trace.usage.prompt_tokens > 0


def test_a_tool_call_is_in_the_trace_as_its_arguments(backend: Backend) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"intent": {}}}}}]
    trial_id = backend.open()
    backend.ask(trial_id, {**QUESTION, "tools": tools, "tool_choice": "required"})
    trace = backend.interceptor.close(trial_id)
    assert trace is not None
    assert trace.exchanges[0].response == '{"intent": "card_arrival"}'


def test_a_failed_call_is_an_error_for_the_app_and_a_failure_in_the_trace(backend: Backend) -> None:
    backend.model.answer = lambda _body: Scripted.rate_limited("3600")
    trial_id = backend.open()
    answer = backend.ask(trial_id)
    assert answer.status_code == 429
    assert "retry-after" not in answer.headers
    assert answer.headers["x-should-retry"] == "false"
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    trace = backend.interceptor.close(trial_id)
    assert trace is not None
    assert trace.failure is not None
    assert trace.failure.kind == "rate_limit"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Scripted.error(500), 500),
        (Scripted.error(529), 529),
        (Scripted.context_too_long(), 400),
        (Scripted.error(401), 502),
        (Scripted.error(402), 502),
        (Scripted.unknown_model(), 502),
        (Scripted.html(), 502),
        (Scripted.no_choices(), 502),
        (Scripted("x", cut=True), 502),
        (Scripted("x", delay_seconds=30), 504),
    ],
)
def test_each_failure_has_a_status_that_says_whose_it_is(backend: Backend, answer: Scripted, status: int) -> None:
    backend.model.answer = lambda _body: answer
    trial_id = backend.open(gateway=backend.make_gateway(call_timeout_seconds=0.2))
    assert backend.ask(trial_id).status_code == status
    trace = backend.interceptor.close(trial_id)
    assert trace is not None
    assert trace.failure is not None


def test_the_openai_client_does_not_retry_what_was_retried_here(backend: Backend) -> None:
    backend.model.answer = lambda _body: Scripted.error(500)
    with (
        openai.OpenAI(base_url=f"{backend.url}{PREFIX}/{backend.open()}", api_key="task-app") as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.chat.completions.create(**QUESTION)  # type: ignore[call-overload]
    assert len(backend.model.requests) == 1


def test_a_question_that_was_answered_the_second_time_is_no_failure(backend: Backend) -> None:
    answers = [Scripted.error(500), Scripted("fine")]
    backend.model.answer = lambda _body: answers.pop(0)
    trial_id = backend.open()
    assert [backend.ask(trial_id).status_code for _ in range(2)] == [500, 200]
    trace = backend.interceptor.close(trial_id)
    assert trace is not None
    assert trace.failure is None


def test_a_turn_that_failed_is_a_failure_although_another_one_went_well(backend: Backend) -> None:
    answers = [Scripted.error(500), Scripted("fine")]
    backend.model.answer = lambda _body: answers.pop(0)
    trial_id = backend.open()
    backend.ask(trial_id)
    backend.ask(trial_id, {"messages": [{"role": "user", "content": "another turn"}]})
    trace = backend.interceptor.close(trial_id)
    assert trace is not None
    assert trace.failure is not None


def test_an_app_that_did_not_wait_measured_nothing(backend: Backend) -> None:
    backend.model.answer = lambda _body: Scripted("late", delay_seconds=2)
    trial_id = backend.open()
    with pytest.raises(httpx.ReadTimeout):
        backend.ask(trial_id, json=QUESTION, timeout=0.3)
    trace = backend.interceptor.close(trial_id)
    assert trace is not None
    assert trace.failure is not None
    assert "did not wait" in trace.failure.reason


def test_a_record_that_cannot_be_written_is_a_failure_too(backend: Backend) -> None:
    def full(_attempt: Attempt) -> None:
        raise OSError("disk full")

    trial_id = backend.open(gateway=backend.make_gateway(on_attempt=full))
    assert backend.ask(trial_id).status_code == 502
    trace = backend.interceptor.close(trial_id)
    assert trace is not None
    assert trace.failure is not None
    assert trace.failure.kind == "internal"


def test_unknown_and_closed_trials_are_not_found(backend: Backend) -> None:
    trial_id = backend.open()
    assert backend.interceptor.close(trial_id) is not None
    assert backend.interceptor.close(trial_id) is None
    for unknown in (trial_id, "pl-x-" + "0" * 32, "x", "%2e%2e", "a%00b"):
        answer = backend.ask(unknown)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "trial_not_open")
    assert not backend.model.requests


def test_trial_ids_are_unguessable(backend: Backend) -> None:
    ids = [backend.open() for _ in range(50)]
    assert len(set(ids)) == 50
    assert all(len(trial_id.rpartition("-")[2]) == 32 and trial_id.startswith("pl-") for trial_id in ids)


def test_a_trial_may_ask_several_times_but_not_without_end(backend: Backend) -> None:
    trial_id = backend.open()
    assert [backend.ask(trial_id).status_code for _ in range(22)] == [200] * 20 + [400] * 2
    assert len(backend.model.requests) == 20


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", JSON, 400),
        (b"{", JSON, 400),
        (b"[]", JSON, 400),
        (b"{}", JSON, 400),
        (b'{"messages": []}', JSON, 400),
        (b'{"messages": ["x"]}', JSON, 400),
        (b'{"messages": [{}], "stream": true}', JSON, 400),
        (b'{"messages": [{}], "x": NaN}', JSON, 400),
        (b'{"messages": [{}], "x": 1e999}', JSON, 400),
        (b'{"x": ' + b"[" * 300_000, JSON, 400),
        (b'{"messages": "\xff"}', JSON, 400),
        (b'{"x": "' + b"x" * 1_000_000 + b'"}', JSON, 413),
        (json.dumps(QUESTION).encode(), {"content-type": "text/plain"}, 415),
        (json.dumps(QUESTION).encode(), {}, 415),
    ],
)
def test_a_request_that_cannot_be_sent_on_is_refused_in_openais_shape(
    backend: Backend, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = backend.ask(backend.open(), content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] in ("invalid_request_error", "upstream_error")
    assert not backend.model.requests


def test_an_answer_with_anything_in_it_reaches_the_app(backend: Backend) -> None:
    said = "\x00\x1b[31m 😀 </script> " + "x" * 1_000_000
    backend.model.answer = lambda _body: said
    assert backend.ask(backend.open()).json()["choices"][0]["message"]["content"] == said


def test_only_posting_is_offered(backend: Backend) -> None:
    url = f"{backend.url}{PREFIX}/{backend.open()}/chat/completions"
    assert backend.client.get(url).status_code == 405


def test_trials_at_once_do_not_mix(backend: Backend) -> None:
    backend.model.answer = lambda body: str(body["messages"][0]["content"])
    gateway = backend.make_gateway(max_concurrent=4)
    instructions = [f"Instruction {n}." for n in range(24)]
    said: dict[str, str] = {}

    def ask(instruction: str) -> None:
        trial_id = backend.interceptor.open(Candidate(instruction), BASELINE, gateway, RolloutPolicy(0.0, 64))
        said[instruction] = backend.ask(trial_id).json()["choices"][0]["message"]["content"]

    threads = [threading.Thread(target=ask, args=(instruction,)) for instruction in instructions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {instruction: f"{instruction} Intents: a" for instruction in instructions}
