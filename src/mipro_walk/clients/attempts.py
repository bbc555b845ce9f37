"""The record of each attempt at a model: tokens, cost and time, written down off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from mipro_walk.clients.endpoints import Endpoint
from mipro_walk.clients.pricing import price, price_at
from mipro_walk.clients.replies import CallFailed, Completion, Redactor, Reply
from mipro_walk.clients.request_form import CallOptions

Status = Literal["ok", "retry", "failed"]


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
    status: Status
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
class Tried:
    """How one request went: exactly one of ``completion`` and ``failure`` is set. ``reply`` is what was received."""

    started_at: str
    started_clock: float
    latency_seconds: float
    sent: Mapping[str, Any]
    reply: Reply | None = None
    completion: Completion | None = None
    failure: CallFailed | None = None


class AttemptRecorder:
    """Writes attempts down in threads of its own: prices load slowly and a ledger writes to disk."""

    def __init__(
        self, endpoint: Endpoint, options: CallOptions, redact: Redactor, on_attempt: OnAttempt, max_concurrent: int
    ) -> None:
        self._endpoint = endpoint
        self._redact = redact
        self._prices = options.prices
        self._on_attempt = on_attempt
        # Several, so that records which come together can become durable together.
        self._threads = ThreadPoolExecutor(max(1, max_concurrent), thread_name_prefix="model-calls")

    async def record(self, tag: str, number: int, status: Status, tried: Tried) -> Attempt:
        """Write an attempt down and return it. What hears of it may raise, and so does this."""
        return await asyncio.shield(asyncio.wrap_future(self.submit(tag, number, status, tried)))

    def submit(self, tag: str, number: int, status: Status, tried: Tried) -> Future[Attempt]:
        """Write an attempt down without waiting for it."""
        return self._threads.submit(self._tell, tag, number, status, tried)

    def close(self) -> None:
        """Take no more records; those under way are written."""
        self._threads.shutdown(wait=False)

    def _tell(self, tag: str, number: int, status: Status, tried: Tried) -> Attempt:
        completion, failure = tried.completion, tried.failure
        usage = completion.usage if completion else None
        http_status = tried.reply.status if tried.reply else failure.status if failure else None
        attempt = Attempt(
            tag=tag,
            number=number,
            provider=self._endpoint.provider,
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
        endpoint = self._endpoint
        if endpoint.provider == "local":
            return 0.0
        if self._prices is not None:
            return None if completion.usage is None else price_at(self._prices, completion.usage)
        if endpoint.sends_cost and completion.reported_cost is not None:
            return completion.reported_cost
        if completion.usage is None:
            return None
        names = dict.fromkeys(name for name in (completion.model, model) if name)
        prices = (price(endpoint.provider, name, completion.usage, endpoint.base_url) for name in names)
        return next((found for found in prices if found is not None), None)
