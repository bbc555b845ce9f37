"""The gateway against a real server on loopback: retries, deadlines, limits, records, and what never leaks."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import SecretStr

from mipro_walk.clients.attempts import Attempt
from mipro_walk.clients.chat import ChatGateway
from mipro_walk.clients.endpoints import Endpoint, endpoint_for
from mipro_walk.clients.gateway_thread import GatewayThread
from mipro_walk.clients.limits import AdaptiveLimit, Pacing
from mipro_walk.clients.rates import RateLimit
from mipro_walk.clients.replies import CallFailed, FatalCallError
from mipro_walk.clients.request_form import CallOptions
from mipro_walk.errors import ConfigError, IncompleteError
from tests.fakes.clock import Clock
from tests.fakes.openai_server import FAULTS, Received, Scripted, ScriptedOpenAI, keyword_answer

BODY = {"messages": [{"role": "user", "content": "where is my card"}]}
Answers = list["str | Scripted"]


class Harness:
    """A scripted server, a gateway to it, and all attempts."""

    def __init__(self, answers: Answers, default: str | Scripted = "ok", **options: Any) -> None:
        self.answers = answers
        self.default = default
        self.server = ScriptedOpenAI(lambda _body: self.answers.pop(0) if self.answers else self.default)
        self.clock = Clock()
        self.attempts: list[Attempt] = []
        self.options = {"pacing": self.clock.pacing(), "on_attempt": self.attempts.append, **options}

    def run(self, work: Callable[[ChatGateway], Awaitable[Any]], **endpoint: Any) -> Any:
        async def main() -> Any:
            made = {"provider": "openai", "model": "gpt-4o-mini", "api_key": SecretStr(self.server.key), **endpoint}
            gateway = ChatGateway(Endpoint(base_url=self.server.base_url, **made), **self.options)
            try:
                return await work(gateway)
            finally:
                await gateway.close()

        with self.server:
            return asyncio.run(main())

    def complete(self, **endpoint: Any) -> dict[str, Any]:
        completion: dict[str, Any] = self.run(lambda gateway: gateway.complete(BODY, "row 7"), **endpoint)
        return completion

    def fail(self, **endpoint: Any) -> CallFailed:
        with pytest.raises(CallFailed) as caught:
            self.complete(**endpoint)
        return caught.value


def text(completion: dict[str, Any]) -> Any:
    return completion["choices"][0]["message"]["content"]


# ---- answers and their record


def test_an_answer_is_returned_recorded_and_priced() -> None:
    harness = Harness(["card_arrival"])
    assert text(harness.complete()) == "card_arrival"
    [attempt] = harness.attempts
    assert (attempt.status, attempt.number, attempt.tag, attempt.http_status) == ("ok", 1, "row 7", 200)
    assert (attempt.model_asked, attempt.model_answered) == ("gpt-4o-mini", "gpt-4o-mini")
    assert attempt.prompt_tokens > 0
    assert attempt.cost_usd is not None
    assert attempt.cost_usd > 0
    assert datetime.fromisoformat(attempt.started_at).tzinfo is UTC


def test_the_request_is_passed_on_as_it_is_with_our_model() -> None:
    harness = Harness([])
    harness.complete()
    [received] = harness.server.requests
    assert received.body == {"model": "gpt-4o-mini", **BODY}
    assert received.authorized
    assert received.headers["accept-encoding"] == "identity"


def test_an_answer_without_usage_has_an_unknown_cost_and_says_so() -> None:
    harness = Harness([Scripted("x", usage=False)])
    harness.complete()
    [attempt] = harness.attempts
    assert (attempt.prompt_tokens, attempt.cost_usd, attempt.usage_known) == (0, None, False)


def test_an_unknown_model_has_an_unknown_price() -> None:
    harness = Harness([])
    harness.complete(model="my-finetune")
    assert harness.attempts[0].cost_usd is None


def test_the_local_model_costs_nothing_and_a_custom_endpoint_may_say_what_it_costs() -> None:
    harness = Harness([])
    harness.complete(provider="local")
    assert harness.attempts[0].cost_usd == 0.0
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "cost": 0.25}
    harness = Harness([Scripted("x", usage=usage)])
    harness.complete(provider="custom", sends_cost=True)
    assert harness.attempts[0].cost_usd == 0.25


def test_a_record_that_cannot_be_written_fails_the_call() -> None:
    def full(_attempt: Attempt) -> None:
        raise OSError("disk full")

    harness = Harness([], on_attempt=full)
    with pytest.raises(OSError, match="disk full"):
        harness.complete()


def test_a_prompt_with_half_a_surrogate_pair_is_sent_readably() -> None:
    harness = Harness([])
    body = {"messages": [{"role": "user", "content": "a\ud800b 😀"}]}
    harness.run(lambda gateway: gateway.complete(body))
    assert harness.server.bodies[0]["messages"][0]["content"] == "a\ufffdb 😀"


def test_a_request_that_is_no_json_fails_without_being_sent() -> None:
    harness = Harness([])
    with pytest.raises(CallFailed) as caught:
        harness.run(lambda gateway: gateway.complete({"messages": [], "temperature": float("nan")}))
    assert caught.value.kind == "request"
    assert not harness.server.requests


# ---- failures that pass


@pytest.mark.parametrize("fault", [*FAULTS, Scripted.error(408), Scripted.error(409), Scripted.error(425)])
def test_a_failure_that_may_pass_is_tried_again(fault: Scripted) -> None:
    harness = Harness([fault, fault], "fine")
    assert text(harness.complete()) == "fine"
    assert [attempt.status for attempt in harness.attempts] == ["retry", "retry", "ok"]
    assert [attempt.number for attempt in harness.attempts] == [1, 2, 3]
    assert all(attempt.cost_usd == 0.0 for attempt in harness.attempts[:2])
    assert all(pause < 1.0 for pause in harness.clock.slept[:1])


def test_there_are_never_more_requests_than_one_and_the_retries() -> None:
    harness = Harness([], Scripted.error(500), max_retries=3)
    failure = harness.fail()
    assert (failure.kind, failure.status, failure.retryable) == ("server", 500, True)
    assert len(harness.server.requests) == 4
    assert [attempt.status for attempt in harness.attempts] == ["retry"] * 3 + ["failed"]


def test_pauses_grow_have_jitter_and_a_bound() -> None:
    harness = Harness([], Scripted.error(500), max_retries=12, deadline_seconds=1e6)
    harness.fail()
    assert len(set(harness.clock.slept)) == 12
    assert all(pause <= min(20.0, 0.15 * 3**i) for i, pause in enumerate(harness.clock.slept))
    assert max(harness.clock.slept) > 10.0


def test_pauses_stay_short_while_other_calls_are_answered() -> None:
    gateways: list[ChatGateway] = []

    async def sleep(seconds: float) -> None:
        await gateways[0].complete({**BODY, "n": 1})
        await harness.clock.sleep(seconds)

    harness = Harness([], max_retries=12)
    harness.options["pacing"] = replace(harness.clock.pacing(), sleep=sleep)
    harness.server.answer = lambda body: "fine" if "n" in body else Scripted.error(500)

    async def work(gateway: ChatGateway) -> None:
        gateways.append(gateway)
        with pytest.raises(CallFailed):
            await gateway.complete(BODY)

    harness.run(work)
    assert len(harness.clock.slept) == 12
    assert max(harness.clock.slept) <= 0.15


@pytest.mark.parametrize("status", [429, 503, 529])
def test_an_outage_for_load_is_waited_out_beyond_the_retries(status: int) -> None:
    harness = Harness([Scripted.error(status)] * 8, "fine", max_retries=2)
    assert text(harness.complete()) == "fine"
    assert all(pause <= 4.0 for pause in harness.clock.slept)


def test_a_refusal_for_load_that_never_ends_is_given_up_within_a_minute() -> None:
    harness = Harness([], Scripted.error(429))
    assert harness.fail().status == 429
    assert 40.0 < harness.clock.now < 60.0


def test_where_no_retries_are_wanted_load_is_not_waited_out() -> None:
    harness = Harness([], Scripted.error(429), max_retries=0)
    assert harness.fail().status == 429
    assert len(harness.server.requests) == 1


def test_a_refused_connection_is_tried_again_and_then_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        failure = _fail_at(f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
    assert (failure.kind, failure.retryable) == ("connection", True)


def _fail_at(base_url: str, **options: Any) -> CallFailed:
    async def main() -> None:
        gateway = ChatGateway(Endpoint("custom", base_url, "m"), pacing=Clock().pacing(), max_retries=1, **options)
        try:
            await gateway.complete(BODY)
        finally:
            await gateway.close()

    with pytest.raises(CallFailed) as caught:
        asyncio.run(main())
    return caught.value


# ---- Retry-After


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("0", 0.0, 0.5),
        ("1", 1.0, 2.5),
        pytest.param(format_datetime(datetime.now(UTC) + timedelta(days=400), usegmt=True), None, None, id="date"),
        ("3600", None, None),
        ("soon", 0.0, 0.5),
        ("-5", 0.0, 0.5),
        (None, 0.0, 0.5),
    ],
)
def test_retry_after_is_honoured_within_the_deadline(header: str | None, low: float | None, high: float) -> None:
    harness = Harness([Scripted.rate_limited(header)], "fine")
    if low is None:
        assert harness.fail().status == 429
        assert harness.clock.slept == []
        assert len(harness.server.requests) == 1
        return
    assert text(harness.complete()) == "fine"
    assert low <= sum(harness.clock.slept) <= high


def test_a_pause_asked_of_one_worker_holds_for_all() -> None:
    harness = Harness([Scripted.rate_limited("100")], "fine", max_concurrent=4)

    async def work(gateway: ChatGateway) -> None:
        recorded = asyncio.Event()
        first = asyncio.create_task(gateway.complete(BODY, on_attempt=lambda _attempt: recorded.set()))
        await recorded.wait()
        await gateway.complete(BODY)
        assert harness.clock.now >= 100
        await first

    harness.run(work)


def test_a_pause_longer_than_a_call_may_take_fails_later_calls_without_a_request() -> None:
    harness = Harness([Scripted.rate_limited("3600")], "fine")

    async def work(gateway: ChatGateway) -> None:
        for _ in range(3):
            with pytest.raises(CallFailed) as caught:
                await gateway.complete(BODY)
            assert caught.value.retryable

    harness.run(work)
    assert len(harness.server.requests) == 1


# ---- failures of one request, and of all


@pytest.mark.parametrize("answer", [Scripted.context_too_long(), Scripted.error(422), Scripted.error(413)])
def test_a_refused_request_is_not_tried_again_and_stops_no_other(answer: Scripted) -> None:
    harness = Harness([answer], "fine")

    async def work(gateway: ChatGateway) -> None:
        with pytest.raises(CallFailed) as caught:
            await gateway.complete(BODY)
        assert (caught.value.kind, caught.value.retryable) == ("request", False)
        assert text(await gateway.complete(BODY)) == "fine"

    harness.run(work)
    assert len(harness.server.requests) == 2


FATAL = {
    "key": Scripted.error(401, "invalid_api_key"),
    "forbidden": Scripted.error(403),
    "payment": Scripted.error(402),
    "quota": Scripted.out_of_quota(),
    "model": Scripted.unknown_model(),
    "redirect": Scripted(status=307, raw=b"", headers={"location": "http://127.0.0.1:1/steal"}),
}


@pytest.mark.parametrize("answer", FATAL.values(), ids=FATAL.keys())
def test_a_failure_that_all_calls_would_meet_stops_them_at_once(answer: Scripted) -> None:
    harness = Harness([], answer, max_concurrent=2)

    async def work(gateway: ChatGateway) -> None:
        results = await asyncio.gather(*(gateway.complete(BODY) for _ in range(100)), return_exceptions=True)
        assert all(isinstance(result, FatalCallError) for result in results)
        assert gateway.fatal_failure is not None
        assert isinstance(gateway.fatal_failure, IncompleteError)

    harness.run(work)
    assert len(harness.server.requests) <= 2


def test_a_wrong_form_that_the_endpoint_refused_is_an_answer() -> None:
    raw = {"error": {"message": "x", "code": "tool_use_failed", "failed_generation": "card arrival, I think"}}
    harness = Harness([Scripted(status=400, raw=json.dumps(raw).encode())])
    assert text(harness.complete()) == "card arrival, I think"
    assert harness.attempts[0].status == "ok"


# ---- fields that a model refuses


def test_a_refused_field_is_replaced_once_and_remembered() -> None:
    def reasoning(body: dict[str, Any]) -> str | Scripted:
        refused = next((name for name in ("max_tokens", "temperature") if name in body), None)
        return Scripted.refuses(refused) if refused else "fine"

    harness = Harness([])
    harness.server.answer = reasoning
    body = {**BODY, "max_tokens": 9, "temperature": 0}

    async def work(gateway: ChatGateway) -> None:
        assert text(await gateway.complete(body)) == "fine"
        assert text(await gateway.complete(body)) == "fine"

    harness.run(work)
    assert len(harness.server.requests) == 4
    assert harness.server.bodies[-1] == {"model": "gpt-4o-mini", **BODY, "max_completion_tokens": 9}
    assert body["max_tokens"] == 9


def test_many_workers_learn_a_refused_field_together() -> None:
    harness = Harness([], max_concurrent=8, max_retries=0)
    harness.server.answer = lambda body: Scripted.refuses("temperature") if "temperature" in body else "fine"
    body = {**BODY, "temperature": 0}
    harness.run(lambda gateway: asyncio.gather(*(gateway.complete(body) for _ in range(30))))
    assert len(harness.server.requests) <= 38


def test_what_was_sent_can_be_told_afterwards_without_the_refused_fields() -> None:
    harness = Harness([])
    harness.server.answer = lambda body: Scripted.refuses("temperature") if "temperature" in body else "fine"
    asked = {
        "messages": [{"role": "user", "content": "caf\N{LATIN SMALL LETTER E WITH ACUTE} \ud800"}],
        "temperature": 0.5,
    }

    async def ask(gateway: ChatGateway) -> dict[str, Any]:
        await gateway.complete(asked)
        return gateway.as_sent(asked)

    sent = harness.run(ask)
    assert sent == harness.server.bodies[-1]
    assert list(sent) == ["model", "messages"]


def test_a_model_that_refuses_both_limits_gets_neither() -> None:
    harness = Harness([])
    limits = ("max_tokens", "max_completion_tokens")
    harness.server.answer = lambda body: next((Scripted.refuses(n) for n in limits if n in body), Scripted("fine"))
    assert text(harness.run(lambda gateway: gateway.complete({**BODY, "max_tokens": 9}))) == "fine"


def test_a_custom_server_is_asked_with_the_older_limit() -> None:
    harness = Harness([])
    body = {**BODY, "max_completion_tokens": 9}
    harness.run(lambda gateway: gateway.complete(body), provider="custom", wants_max_tokens=True)
    assert harness.server.bodies[0] == {"model": "gpt-4o-mini", **BODY, "max_tokens": 9}


# ---- deadlines


@pytest.mark.parametrize(
    "answer",
    [Scripted("slow", delay_seconds=30), Scripted("drip", drip_seconds=0.05)],
    ids=["never answers", "byte drip"],
)
def test_the_total_deadline_holds_whatever_the_endpoint_does(answer: Scripted) -> None:
    harness = Harness([], answer, call_timeout_seconds=0.4, deadline_seconds=0.9, max_retries=50, pacing=Pacing())
    began = time.monotonic()
    failure = harness.fail()
    assert failure.kind == "timeout"
    assert time.monotonic() - began < 1.9


def test_waiting_for_a_place_counts_towards_the_deadline() -> None:
    harness = Harness(
        [], Scripted("slow", delay_seconds=30), max_concurrent=1, deadline_seconds=0.3, max_retries=0, pacing=Pacing()
    )

    async def work(gateway: ChatGateway) -> None:
        results = await asyncio.gather(*(gateway.complete(BODY) for _ in range(5)), return_exceptions=True)
        assert {getattr(result, "kind", None) for result in results} == {"timeout"}

    began = time.monotonic()
    harness.run(work)
    assert time.monotonic() - began < 1.9


def test_an_accept_queue_that_nobody_empties_times_out() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        assert _fail_at(url, call_timeout_seconds=0.2).kind == "timeout"


def test_a_cancelled_call_is_recorded_and_gives_its_place_back() -> None:
    harness = Harness([], max_concurrent=1, pacing=Pacing())
    arrived = threading.Event()

    def answer(_body: dict[str, Any]) -> Scripted:
        is_first = not arrived.is_set()
        arrived.set()
        return Scripted("fine", delay_seconds=30 if is_first else 0)

    harness.server.answer = answer

    async def work(gateway: ChatGateway) -> None:
        first = asyncio.create_task(gateway.complete(BODY))
        await asyncio.to_thread(arrived.wait)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert text(await gateway.complete(BODY)) == "fine"

    harness.run(work)
    assert [attempt.status for attempt in harness.attempts] == ["failed", "ok"]


# ---- size


@pytest.mark.parametrize("size", [10_000_001, 40_000_000])
def test_an_answer_beyond_ten_megabytes_is_not_read(size: int) -> None:
    harness = Harness([Scripted(raw=b" " * size)], "fine")
    assert text(harness.complete()) == "fine"
    assert "10,000,000" in (harness.attempts[0].error or "")


def test_a_compressed_answer_is_refused() -> None:
    harness = Harness([Scripted(raw=b"\x1f\x8b" + b"\0" * 50, headers={"content-encoding": "gzip"})], "fine")
    assert text(harness.complete()) == "fine"
    assert "compressed" in (harness.attempts[0].error or "")


# ---- concurrency


def test_no_more_requests_are_under_way_than_allowed() -> None:
    harness = Harness([], Scripted("x", delay_seconds=0.01), max_concurrent=3, pacing=Pacing())
    harness.run(lambda gateway: asyncio.gather(*(gateway.complete(BODY) for _ in range(30))))
    assert harness.server.peak == 3


@pytest.mark.parametrize("status", [429, 503, 529])
def test_load_halves_the_limit_once_per_burst_and_success_lets_it_grow(status: int) -> None:
    harness = Harness([Scripted.error(status)] * 8, "fine", max_concurrent=8)

    async def work(gateway: ChatGateway) -> list[int]:
        await asyncio.gather(*(gateway.complete(BODY) for _ in range(8)))
        low = gateway.concurrency
        await asyncio.gather(*(gateway.complete(BODY) for _ in range(60)))
        return [low, gateway.concurrency]

    low, after = harness.run(work)
    assert 2 <= low < 8
    assert low < after <= 8


def test_what_an_outage_took_beyond_the_first_halving_comes_back_with_each_success() -> None:
    clock = Clock()
    limit = AdaptiveLimit(16, clock.pacing())
    for moment in range(1, 6):
        clock.now = moment
        limit.pressed(started_at=moment)
    lowest = limit.limit
    limits = []
    for _ in range(8):
        limit.succeeded()
        limits.append(limit.limit)
    assert (lowest, limits) == (1, [2, 3, 4, 5, 6, 7, 8, 8])


def test_pressure_after_a_success_is_a_new_signal() -> None:
    clock = Clock()
    limit = AdaptiveLimit(16, clock.pacing())
    for moment in (1.0, 2.0):
        clock.now = moment
        limit.pressed(started_at=moment)
        limit.succeeded()
    assert limit.limit <= 5  # 16, halved, one more, halved, one more at most: not back at 8


def test_an_ordinary_server_error_leaves_the_limit_alone() -> None:
    harness = Harness([Scripted.error(500)], "fine", max_concurrent=8)

    async def work(gateway: ChatGateway) -> int:
        await gateway.complete(BODY)
        return gateway.concurrency

    assert harness.run(work) == 8


def test_sixteen_workers_keep_to_a_rate_limit_without_a_stampede() -> None:
    harness = Harness([], max_concurrent=16, pacing=Pacing(rng=random.Random(3)), max_retries=8)
    harness.server = server = ScriptedOpenAI(lambda _body: "fine", rate_limit=(10, 0.5))
    harness.run(lambda gateway: asyncio.gather(*(gateway.complete(BODY) for _ in range(40))))
    refused = [attempt for attempt in harness.attempts if attempt.http_status == 429]
    assert sum(attempt.status == "ok" for attempt in harness.attempts) == 40
    assert _busiest(server.requests[16:], 0.5) <= 16
    assert len(refused) <= 40


def _busiest(requests: list[Received], seconds: float) -> int:
    times = [request.at for request in requests]
    return max(sum(start <= at < start + seconds for at in times) for start in times)


@pytest.mark.parametrize("fault_rate", [0.05, 0.3])
def test_random_faults_do_not_change_what_is_answered(fault_rate: float) -> None:
    asked = [{**BODY, "messages": [{"role": "user", "content": f"query {n}"}]} for n in range(60)]

    def answers(rate: float) -> list[str]:
        harness = Harness([], max_retries=10, deadline_seconds=1e6)
        harness.server = ScriptedOpenAI(keyword_answer, fault_rate=rate, seed=5)
        done = harness.run(lambda gateway: asyncio.gather(*(gateway.complete(body) for body in asked)))
        return [text(completion) for completion in done]

    assert answers(fault_rate) == answers(0.0)


# ---- environment and secrets


@pytest.mark.parametrize(
    "name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY", "SSL_CERT_FILE", "NETRC"]
)
def test_settings_in_the_environment_do_not_touch_this_machine(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1/nowhere")
    assert text(Harness(["fine"]).complete()) == "fine"


@pytest.mark.parametrize(
    ("name", "value"),
    [("SSL_CERT_FILE", "/nowhere/ca.pem"), ("HTTPS_PROXY", "nonsense://x"), ("ALL_PROXY", "socks5://127.0.0.1:1")],
)
def test_a_bad_setting_for_a_hosted_endpoint_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name):
        ChatGateway(endpoint_for("openai", "m", {"OPENAI_API_KEY": "sk-x"}))


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    failure = _fail_at("https://api.example.com/v1")
    assert failure.kind == "connection"
    assert "HTTPS_PROXY" in failure.reason
    assert "127.0.0.1:1" not in failure.reason


def test_plain_text_where_tls_is_expected_is_fatal() -> None:
    with ScriptedOpenAI() as server:
        failure = _fail_at(server.base_url.replace("http://", "https://"))
    assert (failure.kind, isinstance(failure, FatalCallError)) == ("tls", True)


def test_an_untrusted_certificate_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ssl.SSLCertVerificationError(1, "self-signed certificate")

    async def refuse(*_args: Any, **_options: Any) -> None:
        raise error

    monkeypatch.setattr("httpcore.AsyncConnectionPool.handle_async_request", refuse)
    assert _fail_at("https://127.0.0.1:1/v1").kind == "tls"


def test_the_key_is_in_no_record_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    key = "sk-canary-abcdefghijklmnopqrstuvwxyz"
    told: list[str] = []
    for status in (400, 401, 403, 404, 429, 500, 200):
        error = {"error": {"message": f"bad key {key} / Bearer {key}", "code": key}, "model": key}
        harness = Harness([], Scripted(status=status, raw=json.dumps(error).encode()), max_retries=1)
        harness.server.key = key
        failure = harness.fail(api_key=SecretStr(key))
        told += [str(failure), repr(failure), failure.reason, failure.fix, repr(harness.attempts)]
    harness = Harness([Scripted(message={"content": "x"}, text=key)])
    harness.server.key = key
    harness.complete(api_key=SecretStr(key), model=key)
    told += [repr(replace(harness.attempts[0], model_asked="")), caplog.text]
    assert key not in "".join(told)
    assert key[:8] not in "".join(told)


# ---- from threads


def test_threads_share_one_gateway_on_its_loop() -> None:
    with ScriptedOpenAI(lambda body: str(body["messages"][0]["content"])) as server, GatewayThread() as thread:
        endpoint = Endpoint("local", server.base_url, "m", SecretStr(server.key))
        gateway = ChatGateway(endpoint, loop=thread.loop, max_concurrent=3)
        said: dict[int, Any] = {}

        def ask(n: int) -> None:
            said[n] = text(gateway.complete_sync({"messages": [{"role": "user", "content": f"row {n}"}]}))

        workers = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        gateway.close_sync()
        gateway.close_sync()
    assert said == {n: f"row {n}" for n in range(12)}


def test_waiting_for_oneself_is_refused_instead_of_hanging() -> None:
    async def work(gateway: ChatGateway) -> None:
        await gateway.complete(BODY)
        with pytest.raises(RuntimeError, match="wait for"):
            gateway.complete_sync(BODY)

    Harness([]).run(work)


def test_a_gateway_belongs_to_one_loop() -> None:
    gateway = ChatGateway(Endpoint("local", "http://127.0.0.1:1/v1", "m"), max_retries=0)
    with pytest.raises(CallFailed):
        asyncio.run(gateway.complete(BODY))
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(gateway.complete(BODY))


# ---- options of a model


def test_extra_fields_and_headers_go_into_every_request() -> None:
    options = CallOptions({"top_p": 0.5, "seed": 3}, {"X-Title": "walk"}, "low", send_temperature=False)
    harness = Harness([], options=options)
    harness.run(lambda gateway: gateway.complete({**BODY, "temperature": 0.0, "seed": 1}))
    (request,) = harness.server.requests
    assert {k: request.body.get(k) for k in ("top_p", "seed", "reasoning_effort")} == {
        "top_p": 0.5, "seed": 3, "reasoning_effort": "low",
    }  # fmt: skip
    assert "temperature" not in request.body
    assert request.headers["x-title"] == "walk"
    assert request.authorized


@pytest.mark.parametrize("field", ["reasoning_effort", "temperature"])
def test_a_field_that_the_model_refuses_is_left_out_from_then_on(field: str) -> None:
    harness = Harness([Scripted.refuses(field)], options=CallOptions(reasoning_effort="low"))

    async def twice(gateway: ChatGateway) -> None:
        for _ in range(2):
            await gateway.complete({**BODY, "temperature": 0.0})
        assert gateway.refused_fields == {field}

    harness.run(twice)
    assert [field in body for body in harness.server.bodies] == [True, False, False]
    assert [attempt.status for attempt in harness.attempts] == ["retry", "ok", "ok"]


def test_a_custom_server_that_wants_the_newer_name_of_the_limit_gets_it() -> None:
    harness = Harness([Scripted.refuses("max_tokens")])
    harness.run(
        lambda gateway: gateway.complete({**BODY, "max_completion_tokens": 9}), provider="custom", wants_max_tokens=True
    )
    limits = [(body.get("max_tokens"), body.get("max_completion_tokens")) for body in harness.server.bodies]
    assert limits == [(9, None), (None, 9)]


@pytest.mark.parametrize(("usage", "cost"), [(None, True), (False, None)])
def test_a_configured_price_replaces_the_list_and_needs_usage(usage: Any, cost: bool | None) -> None:
    harness = Harness([Scripted("ok", usage=usage)], options=CallOptions(prices=(1e6, 2e6)))
    harness.run(lambda gateway: gateway.complete(BODY), provider="custom", model="unheard-of", sends_cost=True)
    (attempt,) = harness.attempts
    expected = attempt.prompt_tokens + 2 * attempt.completion_tokens
    assert attempt.cost_usd == (expected if cost else None)


def test_requests_wait_for_their_turn_of_the_minute_without_running_out_of_time() -> None:
    harness = Harness([])
    rate = RateLimit(10, None, harness.clock.pacing())
    harness.options |= {"rate": rate, "max_concurrent": 1}

    async def many(gateway: ChatGateway) -> list[float]:
        ended = []
        for _ in range(25):
            await gateway.complete(BODY)
            ended.append(harness.clock.now)
        return ended

    ended = harness.run(many)
    assert ended == pytest.approx([6.0 * index for index in range(25)])


def test_nobody_waits_for_the_minute_once_the_key_is_refused() -> None:
    harness = Harness([Scripted.error(401, "invalid_api_key")])
    slept: list[float] = []
    refused = asyncio.Event()

    async def sleep_until_the_refusal_is_there(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.wait_for(refused.wait(), 60)

    pacing = Pacing(sleep_until_the_refusal_is_there, lambda: 0.0, random.Random(1))
    harness.options |= {"rate": RateLimit(1, None, pacing), "max_retries": 0}

    async def all_at_once(gateway: ChatGateway) -> list[Any]:
        calls = (gateway.complete(BODY, "", lambda _attempt: refused.set()) for _ in range(6))
        return await asyncio.gather(*calls, return_exceptions=True)

    assert {type(failure) for failure in harness.run(all_at_once)} == {FatalCallError}
    assert len(harness.server.requests) == 1
    assert len(slept) == 1
