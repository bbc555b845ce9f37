"""What is sent to a model: the settings of its run put into a request, and the fields that it refuses left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mipro_walk.clients.endpoints import Endpoint
from mipro_walk.clients.replies import CallFailed, Reply, refused_parameter, without_surrogates

SUBSTITUTES: Mapping[str, str | None] = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
    "temperature": None,
    "reasoning_effort": None,
    "seed": None,
}
"""Fields that some models refuse, and what stands for them (``None``: leave it out)."""


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


class RequestForm:
    """The form of all requests at one endpoint. Which fields are refused there is learnt once for all calls.

    Attributes:
        refused: fields that the endpoint has refused so far.
    """

    def __init__(self, endpoint: Endpoint, options: CallOptions) -> None:
        self.refused: set[str] = set()
        self._assumed = {"max_completion_tokens"} if endpoint.wants_max_tokens else set()
        self._model = endpoint.model
        self._options = options

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``body`` as it is sent: without the fields that are refused, their substitutes in their place."""
        formed = self._options.apply({"model": self._model, **body})
        for name in (self.refused | self._assumed) & formed.keys():
            value, substitute = formed.pop(name), SUBSTITUTES[name]
            if substitute is not None and substitute not in self.refused:
                formed.setdefault(substitute, value)
        return formed

    def adapts(self, sent: Mapping[str, Any], reply: Reply | None) -> bool:
        """Whether the same call may go well now, without a field that ``reply`` refused."""
        name = None if reply is None else refused_parameter(reply, SUBSTITUTES)
        if name is None or name not in sent:
            return False
        self.refused.add(name)
        # Only assumed to be unknown there; it is the one field left to try.
        self._assumed.discard(SUBSTITUTES[name] or "")
        return True


def encode(body: Mapping[str, Any]) -> bytes:
    """Return the request as JSON.

    Raises:
        CallFailed: it holds something that JSON has no form for.
    """
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as exc:
        raise CallFailed("request", None, f"the request is no JSON ({type(exc).__name__})", False) from None
    return without_surrogates(text).encode()
