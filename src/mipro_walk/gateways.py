"""From a configuration to the gateways of its two models: endpoint, key, limits, prices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mipro_walk.clients.attempts import OnAttempt
from mipro_walk.clients.chat import ChatGateway
from mipro_walk.clients.endpoints import Endpoint, endpoint_for
from mipro_walk.clients.limits import Pacing
from mipro_walk.clients.rates import RateLimit
from mipro_walk.clients.request_form import CallOptions
from mipro_walk.config import ModelConfig, ModelOptions, Role, RunConfig
from mipro_walk.config.trust import CUSTOM_KEY_VARIABLE, Trust

LocalEndpoint = Callable[[str], Endpoint]
"""Returns where the local model of that name answers, starting it if need be."""


@dataclass
class Gateways:
    """Makes the gateways of one run. Models at the same address share what they may be asked in a minute.

    Attributes:
        environ: where keys are looked up.
        trust: which keys may be sent where.
        local: starts the local model.
        loop: the running loop that all calls are made on; ``None`` for the one of the first call.
    """

    config: RunConfig
    environ: Mapping[str, str]
    trust: Trust
    local: LocalEndpoint
    loop: asyncio.AbstractEventLoop | None = None
    pacing: Pacing = field(default_factory=Pacing)
    _rates: dict[tuple[Any, ...], RateLimit] = field(default_factory=dict)

    def make(self, role: Role, on_attempt: OnAttempt, model: ModelConfig | None = None) -> ChatGateway:
        """Return the gateway of a role; ``model`` stands in for the configured one.

        Raises:
            ConfigError: the address is unsafe, or the key is not bound to it.
            KeyMissingError: there is no key.
        """
        asked = model or self.config.model(role)
        options, endpoint = asked.options, self.endpoint(asked)
        return ChatGateway(
            endpoint,
            max_concurrent=options.max_concurrent or self.config.max_concurrent,
            call_timeout_seconds=options.timeout_seconds or self.config.call_timeout_seconds,
            max_retries=self.config.max_retries,
            on_attempt=on_attempt,
            loop=self.loop,
            pacing=self.pacing,
            options=call_options(options),
            rate=self._rate(endpoint, options),
        )

    def endpoint(self, asked: ModelConfig) -> Endpoint:
        """Return where a model answers, with its key."""
        if asked.provider == "local":
            return self.local(asked.model)
        return endpoint_for(
            asked.provider,
            asked.model,
            self.environ,
            base_url=asked.base_url,
            key_variable=asked.options.api_key_env,
            may_send=self.trust.allows_key,
        )

    def _rate(self, endpoint: Endpoint, options: ModelOptions) -> RateLimit:
        limits = (options.requests_per_minute, options.tokens_per_minute)
        place = (endpoint.base_url, endpoint.model, *limits)
        if place not in self._rates:
            self._rates[place] = RateLimit(*limits, self.pacing)
        return self._rates[place]


def key_note(endpoint: Endpoint, environ: Mapping[str, str]) -> str | None:
    """Return why the key for custom servers is not sent there, if there is one and it is not."""
    if endpoint.provider != "custom" or endpoint.api_key is not None or not environ.get(CUSTOM_KEY_VARIABLE):
        return None
    return (
        f"{CUSTOM_KEY_VARIABLE} is not sent to {endpoint.base_url}: nothing binds it to that host. "
        f'Say api_key_env = "{CUSTOM_KEY_VARIABLE}" if it is meant for it'
    )


def call_options(options: ModelOptions) -> CallOptions:
    """Return what a gateway is told of a configuration's options."""
    return CallOptions(
        extra_body=options.extra_body or {},
        extra_headers=options.extra_headers or {},
        reasoning_effort=options.reasoning_effort,
        send_temperature=options.send_temperature is not False,
        prices=options.prices,
    )
