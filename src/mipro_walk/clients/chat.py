"""The only door to a model: chat completions at one OpenAI-compatible endpoint.

Keys, retries under one total deadline, Retry-After, adaptive concurrency, prices and the record of each attempt are
here and nowhere else. An answer is checked before anybody sees it; a failure is a :class:`CallFailed`, never text.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import httpx

from mipro_walk.clients.endpoints import Endpoint, endpoint_for
from mipro_walk.clients.http import MAX_ANSWER_BYTES
from mipro_walk.clients.limits import AdaptiveLimit, Pacing
from mipro_walk.clients.pricing import price, price_at
from mipro_walk.clients.rates import RateLimit, expected_tokens
from mipro_walk.clients.replies import (
    CallFailed,
    Completion,
    FatalCallError,
    Redactor,
    Reply,
    failed_generation,
    read_completion,
    read_failure,
    refused_parameter,
    retry_after_seconds,
    without_surrogates,
)
from mipro_walk.errors import ConfigError

__all__ = [
    "Attempt",
    "CallFailed",
    "CallOptions",
    "ChatGateway",
    "Endpoint",
    "FatalCallError",
    "GatewayThread",
    "Pacing",
    "endpoint_for",
]

T = TypeVar("T")

FIRST_BACKOFF_SECONDS, BACKOFF_FACTOR, LONGEST_BACKOFF_SECONDS = 0.15, 3.0, 20.0
"""A single failed call mostly goes well at once; pauses grow only while the endpoint answers nobody."""
LONGEST_LOAD_BACKOFF_SECONDS = 4.0
LOAD_PATIENCE_SECONDS = 45.0
"""So long a call is tried again while the endpoint answers that it has too much to do, whatever ``max_retries``."""
CONNECT_SECONDS = 10.0
IDLE_CONNECTION_SECONDS = 2.0
"""Servers drop idle connections after 5 s and more; giving them up earlier never loses a request to that."""
GRACE_SECONDS = 0.5
LOADED_STATUSES = (429, 503, 529)
SUBSTITUTES: Mapping[str, str | None] = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
    "temperature": None,
    "reasoning_effort": None,
    "seed": None,
}
"""Fields that some models refuse, and what stands for them (``None``: leave it out)."""
PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
NO_TLS_REASONS = ("WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request at the endpoint, for the record. Texts are redacted; no key is ever in them.

    Attributes:
        tag: the caller's word for what the call belongs to.
        number: 1 for the first attempt of a call.
        model_answered: the model's own name in the answer, ``""`` if it is not said.
        status: ``retry`` if another attempt follows this failed one.
        error: why it failed, at most 300 characters.
        prompt_tokens: 0 also when the answer does not say; see ``usage_known``.
        cost_usd: US dollars; ``None`` if the price or the usage of an answer is unknown. An attempt without an
            answer counts as 0.
        latency_seconds: from sending to the last byte, without any waiting before.
        started_at: UTC, ISO 8601.
    """

    tag: str
    number: int
    provider: str
    model_asked: str
    model_answered: str
    status: Literal["ok", "retry", "failed"]
    http_status: int | None
    error: str | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost_usd: float | None
    latency_seconds: float
    started_at: str
    usage_known: bool = True


OnAttempt = Callable[[Attempt], None]


def ignore_attempt(_attempt: Attempt) -> None:
    """Keep no record."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How one model is asked beyond what a request says itself.

    Attributes:
        extra_body: fields put into every request.
        extra_headers: headers put into every request; no key.
        reasoning_effort: for reasoning models; ``None`` says nothing.
        send_temperature: whether the temperature of a request is sent on.
        prices: US dollars for a million prompt and answer tokens, in place of the price list.
    """

    extra_body: Mapping[str, Any] = field(default_factory=dict)
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    reasoning_effort: str | None = None
    send_temperature: bool = True
    prices: tuple[float, float] | None = None

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request that is sent. Not what a task app sends counts, but what the run decides."""
        own = {} if self.reasoning_effort is None else {"reasoning_effort": self.reasoning_effort}
        kept = {name: value for name, value in body.items() if self.send_temperature or name != "temperature"}
        return {**kept, **own, **self.extra_body}


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of a user of the gateway. ``deadline`` is by the gateway's clock."""

    body: Mapping[str, Any]
    tag: str
    on_attempt: OnAttempt
    deadline: float


@dataclass(frozen=True, slots=True)
class _Tried:
    """How one request went: exactly one of ``completion`` and ``failure`` is set. ``reply`` is what was received."""

    started_at: str
    started_clock: float
    latency_seconds: float
    sent: Mapping[str, Any]
    reply: Reply | None = None
    completion: Completion | None = None
    failure: CallFailed | None = None


class ChatGateway:
    """Asks one endpoint. ``complete`` belongs to one event loop, ``complete_sync`` to every other thread.

    After a failure that every call would meet (:class:`FatalCallError`) all later calls fail with it at once,
    without a request.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        max_concurrent: int = 4,
        call_timeout_seconds: float = 60.0,
        deadline_seconds: float | None = None,
        max_retries: int = 6,
        on_attempt: OnAttempt = ignore_attempt,
        loop: asyncio.AbstractEventLoop | None = None,
        pacing: Pacing | None = None,
        options: CallOptions | None = None,
        rate: RateLimit | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent.

        Args:
            endpoint: where and with which key.
            max_concurrent: most requests under way at once; pressure lowers it for a while.
            call_timeout_seconds: total time of one attempt, from connecting to the last byte.
            deadline_seconds: total time of a call: waiting, attempts and pauses. Default: 180, or the time of one
                attempt if that is longer.
            max_retries: further attempts after a failure that may pass; refusals for load do not count for a while.
            on_attempt: hears of each attempt before the call returns, of several calls at the same time, in threads
                of its own; what it raises the call raises.
            loop: the running loop that all calls are made on; default: the one of the first call.
            pacing: clock, sleep and chance.
            options: fields, headers and prices of this model.
            rate: requests and tokens in a minute; what a queue may have to wait for it is added to the deadline.

        Raises:
            ConfigError: a proxy or certificate variable of the environment cannot be used.
        """
        self.endpoint = endpoint
        self.options = options or CallOptions()
        self._rate = rate
        # A rollout more than half of max_concurrent is open beside them, and each may ask again.
        queue_seconds = 0.0 if rate is None else rate.longest_queue_seconds(2 * max_concurrent + 2)
        self.deadline_seconds = (deadline_seconds or max(180.0, call_timeout_seconds)) + queue_seconds
        self._call_timeout_seconds = call_timeout_seconds
        self._max_retries = max_retries
        self._on_attempt = on_attempt
        self._loop = loop
        self._pacing = pacing or Pacing()
        self._limit = AdaptiveLimit(max_concurrent, self._pacing)
        self._redact = Redactor(endpoint.api_key)
        self._answers = 0
        self._refused: set[str] = set()
        self._assumed = {"max_completion_tokens"} if endpoint.wants_max_tokens else set()
        self._fatal: FatalCallError | None = None
        # Several, so that records which come together can become durable together.
        self._recorder = ThreadPoolExecutor(max(1, max_concurrent), thread_name_prefix="model-calls")
        self._url = f"{endpoint.base_url}/chat/completions"
        self._client = _make_client(endpoint, max_concurrent, self.options.extra_headers)

    @property
    def fatal_failure(self) -> FatalCallError | None:
        """The failure after which nothing is asked any more, if there was one."""
        return self._fatal

    @property
    def refused_fields(self) -> frozenset[str]:
        """Fields that the endpoint has refused so far, and that are left out or replaced since."""
        return frozenset(self._refused)

    @property
    def concurrency(self) -> int:
        """How many requests may be under way now."""
        return self._limit.limit

    async def complete(
        self, body: Mapping[str, Any], tag: str = "", on_attempt: OnAttempt = ignore_attempt
    ) -> dict[str, Any]:
        """Return the completion of a chat request; ``choices[0].message`` is there and all numbers are finite.

        Args:
            body: the request; ``model`` is filled in if it is missing. Not changed.
            tag: goes into the record of each attempt.
            on_attempt: hears of this call's attempts, on the event loop.

        Raises:
            CallFailed: there is no completion within the retries and the deadline.
            FatalCallError: nor will there be one for any other call.
        """
        self._bind_loop()
        call = _Call(body, tag, on_attempt, self._pacing.clock() + self.deadline_seconds)
        try:
            # Attempts end at the deadline themselves; this bounds the waits between them.
            async with asyncio.timeout(self.deadline_seconds + GRACE_SECONDS):
                return await self._complete(call)
        except TimeoutError:
            reason = f"no place at the endpoint within {self.deadline_seconds:g} s"
            raise CallFailed("timeout", None, reason, True) from None

    def as_sent(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the endpoint receives for ``body`` by now: without the fields that it refuses."""
        sent: dict[str, Any] = json.loads(_encode(self._form(body)))
        return sent

    def complete_sync(self, body: Mapping[str, Any], tag: str = "") -> dict[str, Any]:
        """Do what :meth:`complete` does, from a thread that does not run the gateway's loop."""
        return self._run_sync(self.complete(body, tag), self.deadline_seconds + 30.0)

    async def close(self) -> None:
        """Close the connections; calls under way fail."""
        await self._client.aclose()
        self._recorder.shutdown(wait=False)

    def close_sync(self) -> None:
        """Close the connections from another thread. A loop that has ended needs no closing."""
        with suppress(CallFailed, RuntimeError):
            self._run_sync(self.close(), 5.0)

    async def _complete(self, call: _Call) -> dict[str, Any]:
        number = retries = in_a_row = 0
        answers = self._answers
        while True:
            self._raise_if_hopeless(call)
            number += 1
            expected = expected_tokens(call.body)
            if self._rate is not None:
                await self._rate.start(expected, is_over=lambda: self._fatal is not None)
            async with self._limit.slot():
                self._raise_if_hopeless(call)
                tried = await self._try(call, number)
            if self._rate is not None and tried.completion is not None and tried.completion.usage is not None:
                self._rate.correct(expected, tried.completion.usage.total_tokens)
            failure = tried.failure
            if failure is None:
                assert tried.completion is not None
                self._answers += 1
                self._limit.succeeded()
                await self._record(call, number, "ok", tried)
                return tried.completion.body
            if self._adapts(tried):
                await self._record(call, number, "retry", tried)
                continue
            if self._answers > answers:  # to others in the meantime: the endpoint is not away
                in_a_row, answers = 0, self._answers
            pause = self._pause_after(call, tried, retries, in_a_row)
            await self._record(call, number, "failed" if pause is None else "retry", tried)
            if pause is None:
                raise failure
            retries += 1
            in_a_row += 1
            await self._pacing.sleep(pause)

    def _raise_if_hopeless(self, call: _Call) -> None:
        """Fail without a request where one could not succeed. The error is a new one: its traceback is this call's."""
        if self._fatal is not None:
            raise FatalCallError(self._fatal.kind, self._fatal.status, self._fatal.reason)
        if self._remaining(call) <= 0:
            raise CallFailed("timeout", None, f"no answer within {self.deadline_seconds:g} s", True)
        left = self._limit.pause_left()
        if left > self._remaining(call):
            reason = f"the endpoint asks to wait {left:.0f} s, longer than a call may take"
            raise CallFailed("rate_limit", 429, reason, True)

    def _remaining(self, call: _Call) -> float:
        return call.deadline - self._pacing.clock()

    async def _try(self, call: _Call, number: int) -> _Tried:
        """Send the request once. Never raises for what the endpoint does."""
        sent = self._form(call.body)
        started_at, started_clock = datetime.now(UTC).isoformat(timespec="milliseconds"), self._pacing.clock()
        reply = completion = failure = None
        timeout = min(self._call_timeout_seconds, self._remaining(call))
        try:
            async with asyncio.timeout(timeout):
                reply = await self._post(_encode(sent))
            completion = read_completion(reply) if reply.status == 200 else failed_generation(reply)
            failure = None if completion else read_failure(reply, self._redact)
        except CallFailed as exc:
            failure = exc
        except (TimeoutError, httpx.TimeoutException):
            failure = CallFailed("timeout", None, f"no complete answer within {timeout:.3g} s", True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            failure = self._connection_failure(exc)
        except asyncio.CancelledError:
            failure = CallFailed("internal", None, "the call was cancelled", True)
            tried = _Tried(started_at, started_clock, self._pacing.clock() - started_clock, sent, None, None, failure)
            self._recorder.submit(self._tell, call, number, "failed", tried)
            raise
        if isinstance(failure, FatalCallError):
            self._fatal = self._fatal or failure
        latency = self._pacing.clock() - started_clock
        return _Tried(started_at, started_clock, latency, sent, reply, completion, failure)

    async def _post(self, content: bytes) -> Reply:
        async with self._client.stream("POST", self._url, content=content) as response:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                # Not asked for, and far larger than what is counted on the wire.
                raise CallFailed("garbage", response.status_code, "the endpoint sent a compressed answer", True)
            data = bytearray()
            async for chunk in response.aiter_raw():
                data += chunk
                if len(data) > MAX_ANSWER_BYTES:
                    reason = f"the endpoint sent more than {MAX_ANSWER_BYTES:,} bytes"
                    raise CallFailed("garbage", response.status_code, reason, True)
            return Reply(response.status_code, bytes(data), response.headers.get("retry-after"))

    def _connection_failure(self, exc: Exception) -> CallFailed:
        """Return what a transport error means. Its text is left out: it may quote a header."""
        name = type(exc).__name__
        for cause in _causes(exc):
            if isinstance(cause, ssl.SSLCertVerificationError):
                set_variables = _set_variables(CERTIFICATE_VARIABLES)
                return FatalCallError("tls", None, f"the certificate is not trusted ({name}){set_variables}")
            if isinstance(cause, ssl.SSLError) and (cause.reason or "") in NO_TLS_REASONS:
                return FatalCallError("tls", None, f"the endpoint speaks no usable TLS ({cause.reason})")
        proxies = "" if self.endpoint.is_local_machine else _set_variables(PROXY_VARIABLES)
        return CallFailed("connection", None, f"no connection to {self.endpoint.provider} ({name}){proxies}", True)

    def _form(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._adapted(self.options.apply({"model": self.endpoint.model, **body}))

    def _adapted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``body`` without the fields that the endpoint refuses, their substitutes in their place."""
        adapted = dict(body)
        for name in (self._refused | self._assumed) & adapted.keys():
            value, substitute = adapted.pop(name), SUBSTITUTES[name]
            if substitute is not None and substitute not in self._refused:
                adapted.setdefault(substitute, value)
        return adapted

    def _adapts(self, tried: _Tried) -> bool:
        """Whether the same call may go well now, without a field that was refused. Learnt once for all calls."""
        name = None if tried.reply is None else refused_parameter(tried.reply, SUBSTITUTES)
        if name is None or name not in tried.sent:
            return False
        self._refused.add(name)
        # Only assumed to be unknown there; it is the one field left to try.
        self._assumed.discard(SUBSTITUTES[name] or "")
        return True

    def _pause_after(self, call: _Call, tried: _Tried, retries: int, in_a_row: int) -> float | None:
        """Return for how long to wait before the next attempt; ``None`` to give up now.

        ``in_a_row``: earlier failures of this call since the endpoint last answered any call. Refusals for load count
        them all: an endpoint that answers others all the same has too much to do.
        """
        failure, asked = tried.failure, None
        assert failure is not None
        is_load = failure.status in LOADED_STATUSES and failure.retryable
        if is_load:
            self._limit.pressed(tried.started_clock)
        if tried.reply is not None and failure.retryable:
            asked = retry_after_seconds(tried.reply.retry_after)
        if failure.status == 429 and asked:
            self._limit.pause(asked)
        if not failure.retryable or (retries >= self._max_retries and not (is_load and self._waits_for_load(call))):
            return None
        cap = LONGEST_LOAD_BACKOFF_SECONDS if is_load else LONGEST_BACKOFF_SECONDS
        longest = min(cap, FIRST_BACKOFF_SECONDS * BACKOFF_FACTOR ** min(retries if is_load else in_a_row, 10))
        pause = (asked or 0.0) + self._pacing.rng.uniform(0.0, longest)
        return pause if pause < self._remaining(call) else None

    def _waits_for_load(self, call: _Call) -> bool:
        """Whether a refusal for load is still waited out. Where no retries are wanted, it never is."""
        return self._max_retries > 0 and self.deadline_seconds - self._remaining(call) < LOAD_PATIENCE_SECONDS

    async def _record(self, call: _Call, number: int, status: Literal["ok", "retry", "failed"], tried: _Tried) -> None:
        """Write the attempt down, off the loop: prices load slowly and a ledger writes to disk."""
        loop = asyncio.get_running_loop()
        attempt = await asyncio.shield(loop.run_in_executor(self._recorder, self._tell, call, number, status, tried))
        call.on_attempt(attempt)

    def _tell(self, call: _Call, number: int, status: Literal["ok", "retry", "failed"], tried: _Tried) -> Attempt:
        completion, failure, endpoint = tried.completion, tried.failure, self.endpoint
        usage = completion.usage if completion else None
        http_status = tried.reply.status if tried.reply else failure.status if failure else None
        attempt = Attempt(
            tag=call.tag,
            number=number,
            provider=endpoint.provider,
            model_asked=str(tried.sent["model"]),
            model_answered=self._redact(completion.model) if completion else "",
            status=status,
            http_status=http_status,
            error=self._redact(failure.reason) if failure else None,
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
            cached_tokens=usage.cached_tokens if usage else 0,
            cost_usd=self._cost(completion, str(tried.sent["model"])) if completion else 0.0,
            latency_seconds=round(tried.latency_seconds, 6),
            started_at=tried.started_at,
            usage_known=completion is None or usage is not None,
        )
        self._on_attempt(attempt)
        return attempt

    def _cost(self, completion: Completion, model: str) -> float | None:
        endpoint = self.endpoint
        if endpoint.provider == "local":
            return 0.0
        if self.options.prices is not None:
            return None if completion.usage is None else price_at(self.options.prices, completion.usage)
        if endpoint.sends_cost and completion.reported_cost is not None:
            return completion.reported_cost
        if completion.usage is None:
            return None
        names = dict.fromkeys(name for name in (completion.model, model) if name)
        prices = (price(endpoint.provider, name, completion.usage, endpoint.base_url) for name in names)
        return next((found for found in prices if found is not None), None)

    def _bind_loop(self) -> None:
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        elif self._loop is not running:
            raise RuntimeError("this gateway belongs to another event loop")

    def _run_sync(self, work: Coroutine[Any, Any, T], timeout: float) -> T:
        if self._loop is None or self._loop.is_closed():
            work.close()
            raise RuntimeError("complete_sync needs the running loop that the gateway was made with")
        return run_sync(work, self._loop, timeout)


class GatewayThread:
    """An event loop in a thread of its own, for gateways in a program that has none.

    >>> with GatewayThread() as thread:
    ...     thread.loop.is_running()
    True
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="model-gateway", daemon=True)

    def __enter__(self) -> GatewayThread:
        started = threading.Event()
        self.loop.call_soon(started.set)
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()


def run_sync(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, timeout: float) -> T:
    """Run ``work`` on ``loop`` and wait for it in this thread.

    Raises:
        CallFailed: it did not end within ``timeout`` seconds (the loop hangs or has stopped).
        RuntimeError: this thread runs that loop, so it would wait for itself.
    """
    if _is_running_here(loop):
        work.close()
        raise RuntimeError("run_sync was called on the loop that it would wait for")
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result(timeout)
    except TimeoutError:
        future.cancel()
        raise CallFailed("internal", None, f"the event loop did not answer within {timeout:g} s", True) from None


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _make_client(endpoint: Endpoint, max_concurrent: int, extra_headers: Mapping[str, str]) -> httpx.AsyncClient:
    headers = {**extra_headers}
    headers |= {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
    headers["User-Agent"] = "mipro-walk"
    if endpoint.api_key is not None:
        headers["Authorization"] = f"Bearer {endpoint.api_key.get_secret_value()}"
    try:
        return httpx.AsyncClient(
            headers=headers,
            # asyncio.timeout bounds an attempt as a whole; a limit per read would let a drip of bytes go on for ever.
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=not endpoint.is_local_machine,
            verify=_tls_context(endpoint),
            limits=httpx.Limits(max_connections=max(1, max_concurrent), keepalive_expiry=IDLE_CONNECTION_SECONDS),
        )
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as exc:
        variables = _set_variables((*PROXY_VARIABLES, *CERTIFICATE_VARIABLES))
        raise ConfigError(
            f"The environment's proxy or certificate settings cannot be used ({type(exc).__name__}){variables}",
            "Correct or unset these variables.",
        ) from exc


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    if endpoint.base_url.startswith("https://"):
        return httpx.create_ssl_context(trust_env=not endpoint.is_local_machine)
    # Never used for a plain connection. It trusts nobody, and spares loading the certificates (20 ms).
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _encode(body: Mapping[str, Any]) -> bytes:
    """Return the request as JSON.

    Raises:
        CallFailed: it holds something that JSON has no form for.
    """
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as exc:
        raise CallFailed("request", None, f"the request is no JSON ({type(exc).__name__})", False) from None
    return without_surrogates(text).encode()


def _causes(exc: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while exc is not None and exc not in found:
        found.append(exc)
        exc = exc.__cause__ or exc.__context__
    return found


def _set_variables(names: tuple[str, ...]) -> str:
    present = [name for name in names if os.environ.get(name)]
    return f"; set in the environment: {', '.join(present)}" if present else ""
