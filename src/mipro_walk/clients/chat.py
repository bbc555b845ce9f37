"""Chat completions at any OpenAI-compatible endpoint: the only place where a provider key is used.

One gateway for each endpoint: it limits concurrency, retries what can be retried within one total deadline, waits as
long as the endpoint asks, and reports every attempt with tokens and cost.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from mipro_walk.clients.endpoints import Endpoint
from mipro_walk.clients.http import MAX_ANSWER_BYTES, is_loopback
from mipro_walk.clients.pricing import price
from mipro_walk.errors import IncompleteError, KeyMissingError, MiproWalkError

RETRYABLE_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
FATAL_STATUSES = frozenset({401, 402, 403, 404})
FATAL_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "invalid_api_key", "model_not_found"})
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 20.0
GROW_AFTER_SUCCESSES = 10
MAX_REASON_CHARS = 300


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: what it was, how it ended, what it consumed. ``cost_usd`` is ``None`` when unknown."""

    tag: str
    number: int
    provider: str
    model_asked: str
    model_answered: str
    status: str
    http_status: int | None
    error: str | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost_usd: float | None
    latency_seconds: float
    started_at: str


class CallFailed(Exception):
    """One call failed for good. ``status`` is what an HTTP caller should be told."""

    def __init__(self, status: int, reason: str, *, retryable: bool = False, fatal: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retryable = retryable
        self.fatal = fatal
        self.retry_after: float | None = None


class ChatGateway:
    """The door to one endpoint. ``complete`` runs on ``loop``; ``complete_sync`` may be called from any thread."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        loop: asyncio.AbstractEventLoop,
        max_concurrent: int = 4,
        call_timeout_seconds: float = 60.0,
        max_retries: int = 4,
        on_attempt: Callable[[Attempt], None] = lambda _attempt: None,
    ) -> None:
        self.endpoint = endpoint
        self.deadline_seconds = call_timeout_seconds * 2
        self._call_timeout_seconds = call_timeout_seconds
        self._max_retries = max_retries
        self._on_attempt = on_attempt
        self._loop = loop
        self._limit = _AdaptiveLimit(max_concurrent)
        self._random = random.Random()  # noqa: S311 - jitter, not security
        self._fatal: CallFailed | None = None
        self._quiet_until = 0.0
        self._client = httpx.AsyncClient(
            timeout=None,  # noqa: S113 - asyncio.timeout bounds the whole call, a drip of bytes included
            follow_redirects=False,
            trust_env=not is_loopback(endpoint.base_url),
            limits=httpx.Limits(max_connections=max_concurrent, keepalive_expiry=2.0),
        )

    async def complete(self, body: Mapping[str, Any], tag: str = "") -> dict[str, Any]:
        """Return a checked chat completion.

        Raises:
            CallFailed: it could not be had; after a fatal failure every later call fails at once.
        """
        deadline = time.monotonic() + self.deadline_seconds
        number = 0
        while True:
            if self._fatal is not None:
                raise self._fatal
            number += 1
            try:
                async with self._limit:
                    await self._wait_for_quiet(deadline)
                    completion = await self._attempt(body, number, tag, deadline)
                self._limit.grow()
                return completion
            except CallFailed as failure:
                if failure.fatal:
                    self._fatal = failure
                pause = self._pause_before_retry(failure, number)
                if pause is None or time.monotonic() + pause >= deadline:
                    raise
                await asyncio.sleep(pause)

    def complete_sync(self, body: Mapping[str, Any], tag: str = "") -> dict[str, Any]:
        """Return a completion to another thread; a failure is one that a user understands.

        Raises:
            KeyMissingError: the endpoint refuses the key.
            IncompleteError: the call failed; the work can be resumed.
        """
        future = asyncio.run_coroutine_threadsafe(self.complete(body, tag), self._loop)
        try:
            return future.result()
        except CallFailed as failure:
            raise self.as_error(failure) from failure

    def as_error(self, failure: CallFailed) -> MiproWalkError:
        """Return the user's error for a failed call."""
        who = f"{self.endpoint.provider} model {self.endpoint.model}"
        if failure.status in (401, 403):
            return KeyMissingError(f"The {who} refuses the key: {failure.reason}", "Check the key, then resume.")
        return IncompleteError(f"The {who} cannot be asked: {failure.reason}", "Repair the cause, then resume.")

    @property
    def fatal_failure(self) -> CallFailed | None:
        """The failure after which no call can succeed, if there was one."""
        return self._fatal

    def close_sync(self) -> None:
        """Close the connections, from another thread."""
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result(5.0)

    async def _attempt(self, body: Mapping[str, Any], number: int, tag: str, deadline: float) -> dict[str, Any]:
        started, clock = datetime.now(UTC).isoformat(), time.monotonic()
        timeout = max(0.01, min(self._call_timeout_seconds, deadline - clock))
        status: int | None = None
        completion: dict[str, Any] | None = None
        failure: CallFailed | None = None
        try:
            async with asyncio.timeout(timeout):
                status, headers, data = await self._post({**body, "model": self.endpoint.model})
            completion = _read_completion(status, headers, data)
        except CallFailed as exc:
            failure = exc
        except TimeoutError:
            failure = CallFailed(504, f"no complete answer within {timeout:.0f} s", retryable=True)
        except httpx.HTTPError as exc:
            failure = CallFailed(502, f"{type(exc).__name__} at {self.endpoint.base_url}", retryable=True)
        if failure is not None:
            failure.reason = self._redacted(failure.reason)
            self._after_failure(failure)
        self._report(number, tag, status, started, time.monotonic() - clock, completion, failure)
        if failure is not None:
            raise failure
        assert completion is not None
        return completion

    async def _post(self, body: Mapping[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.endpoint.api_key is not None:
            headers["Authorization"] = f"Bearer {self.endpoint.api_key.get_secret_value()}"
        content = json.dumps(body, ensure_ascii=True).encode()
        url = f"{self.endpoint.base_url}/chat/completions"
        async with self._client.stream("POST", url, content=content, headers=headers) as response:
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MAX_ANSWER_BYTES:
                    raise CallFailed(502, f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
            return response.status_code, response.headers, bytes(data)

    def _after_failure(self, failure: CallFailed) -> None:
        if failure.status in (429, 503, 529):
            self._limit.halve()
        if failure.retry_after is not None:
            self._quiet_until = max(self._quiet_until, time.monotonic() + failure.retry_after)

    async def _wait_for_quiet(self, deadline: float) -> None:
        """Wait while the endpoint wants no calls from anybody; give up at once if that is past the deadline."""
        left = self._quiet_until - time.monotonic()
        if left > 0:
            if self._quiet_until >= deadline:
                raise CallFailed(429, f"the endpoint asks to wait {left:.0f} s, longer than a call may take")
            await asyncio.sleep(left)

    def _pause_before_retry(self, failure: CallFailed, number: int) -> float | None:
        if not failure.retryable or failure.fatal or number > self._max_retries:
            return None
        if failure.retry_after is not None:
            return failure.retry_after
        longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** (number - 1))
        return self._random.uniform(longest / 2, longest)

    def _report(
        self,
        number: int,
        tag: str,
        http_status: int | None,
        started_at: str,
        seconds: float,
        completion: Mapping[str, Any] | None,
        failure: CallFailed | None,
    ) -> None:
        usage = _usage(completion)
        provider, model = self.endpoint.provider, self.endpoint.model
        if failure is not None:
            cost: float | None = 0.0  # what is not answered is not billed
        elif usage is None:
            cost = 0.0 if provider == "local" else None
        else:
            cost = price(provider, model, *usage)
        tokens = usage or (0, 0, 0)
        self._on_attempt(
            Attempt(
                tag=tag,
                number=number,
                provider=provider,
                model_asked=model,
                model_answered=str((completion or {}).get("model") or ""),
                status="ok" if failure is None else "failed",
                http_status=http_status,
                error=None if failure is None else failure.reason,
                prompt_tokens=tokens[0],
                completion_tokens=tokens[1],
                cached_tokens=tokens[2],
                cost_usd=cost,
                latency_seconds=seconds,
                started_at=started_at,
            )
        )

    def _redacted(self, text: str) -> str:
        key = self.endpoint.api_key.get_secret_value() if self.endpoint.api_key else ""
        return (text.replace(key, "***") if key else text)[:MAX_REASON_CHARS]


class _AdaptiveLimit:
    """How many calls may be in flight: halved when the endpoint is overloaded, grown by one after ten successes."""

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._allowed = self._most
        self._in_flight = 0
        self._successes = 0
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._in_flight < self._allowed)
            self._in_flight += 1

    async def __aexit__(self, *_exc: object) -> None:
        async with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def halve(self) -> None:
        """Allow half as many, at least one."""
        self._allowed = max(1, self._allowed // 2)
        self._successes = 0

    def grow(self) -> None:
        """Count a success."""
        self._successes += 1
        if self._successes >= GROW_AFTER_SUCCESSES and self._allowed < self._most:
            self._allowed += 1
            self._successes = 0


def _read_completion(status: int, headers: httpx.Headers, data: bytes) -> dict[str, Any]:
    """Return the completion of an answer. Raises CallFailed for everything that is none."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if status != 200:
        raise _failure(status, headers, body)
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise CallFailed(502, "the answer is not a chat completion", retryable=True)
    if not isinstance(choices[0].get("message"), dict):
        raise CallFailed(502, "the answer's first choice has no message", retryable=True)
    assert isinstance(body, dict)
    return body


def _failure(status: int, headers: httpx.Headers, body: Any) -> CallFailed:
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {}
    code, message = str(error.get("code") or error.get("type") or ""), str(error.get("message") or "")
    fatal = status in FATAL_STATUSES or code in FATAL_CODES
    retryable = status in RETRYABLE_STATUSES and not fatal
    if 300 <= status < 400:
        status, message = 502, "the endpoint redirects, which is not followed"
    failure = CallFailed(status, f"HTTP {status} {code} {message}".strip(), retryable=retryable, fatal=fatal)
    if retryable:
        failure.retry_after = parse_retry_after(headers.get("retry-after"))
    return failure


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header (a number or an HTTP date), ``None`` for anything else."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return seconds if 0 <= seconds < 1e6 else None


def _usage(completion: Mapping[str, Any] | None) -> tuple[int, int, int] | None:
    """Return prompt, completion and cached tokens; ``None`` if the answer does not say."""
    usage = (completion or {}).get("usage")
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    values = (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached or 0)
    return None if any(not isinstance(v, int) or v < 0 for v in values) else values  # type: ignore[return-value]
