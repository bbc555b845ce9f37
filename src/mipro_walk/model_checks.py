"""What a model can do, found out with a handful of small requests through the gateway that a run uses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

from mipro_walk.clients.attempts import Attempt, OnAttempt
from mipro_walk.clients.chat import ChatGateway
from mipro_walk.clients.replies import CallFailed
from mipro_walk.errors import ConfigError, IncompleteError, KeyMissingError, MiproWalkError, UnreachableError
from mipro_walk.types import Usage

Status = Literal["OK", "WARN", "FAIL"]
MakeGateway = Callable[[OnAttempt], ChatGateway]
"""Makes a gateway that tells of its attempts; called again after a failure that ends one for good."""

SMALL_ANSWER = 32
SEED = 7
CHOICES = ("card", "cash", "transfer")
QUESTION = "A customer asks: my card did not arrive. Is this about card, cash or transfer?"
SCHEMA = {
    "type": "object",
    "properties": {"topic": {"type": "string", "enum": list(CHOICES)}},
    "required": ["topic"],
    "additionalProperties": False,
}
SYSTEM_WORD = "BLUE"
_ERRORS: Mapping[str, tuple[type[MiproWalkError], str]] = {
    "key": (KeyMissingError, "Check the key and what it may be used for; api_key_env names its variable."),
    "quota": (KeyMissingError, "Top up the account or raise its limit."),
    "model": (ConfigError, "Correct the model's name or the base URL; `mipro-walk models list` shows what there is."),
    "request": (ConfigError, "The model refuses even a plain question: check extra_body and its parameters."),
    "tls": (UnreachableError, "Check the base URL, SSL_CERT_FILE and any proxy that replaces certificates."),
    "connection": (UnreachableError, "Check the network, the base URL and the proxy variables, and that it runs."),
    "timeout": (UnreachableError, "Check that it runs, or raise timeout_seconds."),
    "garbage": (UnreachableError, "Check the base URL: most end in /v1."),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried. ``status`` is FAIL only for what the configuration needs."""

    name: str
    status: Status
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was found out about one model.

    Attributes:
        model_answered: the model's own name, ``""`` if it is not said.
        works: by name, whether a capability works: ``structured``, ``tool_calls``, ``logprobs``, ….
        refused_fields: fields that the endpoint refuses and that runs leave out or replace.
        latency_seconds: median of the answered requests.
    """

    provider: str
    model: str
    base_url: str
    model_answered: str
    checks: tuple[Check, ...]
    works: Mapping[str, bool]
    refused_fields: tuple[str, ...]
    latency_seconds: float
    usage: Usage

    @property
    def output_mode(self) -> str:
        """The output mode to use: the strictest that works."""
        modes = ("structured", "tool_calls")
        return next((mode for mode in modes if self.works.get(mode)), "text")

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {**asdict(self), "works": dict(self.works), "recommended_output_mode": self.output_mode}


class Examination:
    """Asks one model. Each request is small and at temperature 0."""

    def __init__(self, make: MakeGateway, max_answer: int = SMALL_ANSWER) -> None:
        self._make = make
        self._attempts: list[Attempt] = []
        self._gateway = make(self._attempts.append)
        self._max_answer = max_answer
        self._refused: set[str] = set()

    def run(self, output_mode: str | None = None) -> Report:
        """Try everything.

        Args:
            output_mode: the mode that the configuration asks for; it fails the report if it does not work.

        Raises:
            KeyMissingError, ConfigError, UnreachableError: not even a plain question is answered.
        """
        try:
            checks = {"chat": self._chat()}
            checks |= {
                "system": self._system(),
                "structured": self._structured(),
                "tool_calls": self._tool_call(),
                "logprobs": self._logprobs(),
                "seed": self._repeats(),
            }
            checks["usage"] = self._usage()
        finally:
            self._close()
        if output_mode in ("structured", "tool_calls") and checks[output_mode].status != "OK":
            checks[output_mode] = _failed(checks[output_mode])
        return self._report(checks)

    def _report(self, checks: Mapping[str, Check]) -> Report:
        answered = [attempt for attempt in self._attempts if attempt.status == "ok"]
        endpoint = self._gateway.endpoint
        used = (Usage(1, a.prompt_tokens, a.completion_tokens, a.cost_usd) for a in self._attempts)
        return Report(
            provider=endpoint.provider,
            model=endpoint.model,
            base_url=endpoint.base_url,
            model_answered=answered[0].model_answered,
            checks=tuple(checks.values()),
            works={name: check.status == "OK" for name, check in checks.items()},
            refused_fields=tuple(sorted(self._refused)),
            latency_seconds=round(median(attempt.latency_seconds for attempt in answered), 3),
            usage=sum(used, Usage()),
        )

    def _chat(self) -> Check:
        try:
            answer = self._ask({"messages": [_user("Reply with the single word: ready")]})
        except CallFailed as failure:
            kind, fix = _ERRORS.get(failure.kind, (IncompleteError, failure.fix))
            endpoint = self._gateway.endpoint
            raise kind(f"{endpoint.model} at {endpoint.base_url} cannot be asked: {failure.reason}", fix) from failure
        text = _text(answer)
        if not text.strip():
            return Check("Plain question", "WARN", f"an empty answer ({_finish(answer)}); raise max_completion_tokens")
        return Check("Plain question", "OK", f"answered {text[:40]!r}")

    def _system(self) -> Check:
        system = {"role": "system", "content": f"Whatever is asked, answer with the single word {SYSTEM_WORD}."}
        return self._try(
            "System message",
            {"messages": [system, _user("What is the capital of France?")]},
            lambda answer: SYSTEM_WORD in _text(answer).upper(),
            "is obeyed",
        )

    def _structured(self) -> Check:
        answer_format = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}}
        body = {"messages": [_user(QUESTION)], "response_format": answer_format}
        return self._try(
            "Structured output", body, lambda answer: _holds_topic(_text(answer)), "JSON by schema, enum kept"
        )

    def _tool_call(self) -> Check:
        function = {"name": "classify", "description": "Tell the topic.", "parameters": SCHEMA}
        choice = {"type": "function", "function": {"name": "classify"}}
        body = {
            "messages": [_user(QUESTION)],
            "tools": [{"type": "function", "function": function}],
            "tool_choice": choice,
        }
        return self._try("Forced tool call", body, _calls_classify, "the function is called, enum kept")

    def _logprobs(self) -> Check:
        body = {"messages": [_user("Reply with yes or no: is water wet?")], "logprobs": True, "top_logprobs": 2}
        return self._try("Log probabilities", body, _has_logprobs, "are returned")

    def _repeats(self) -> Check:
        name, body = "Same answer twice", {"messages": [_user("Name one colour.")], "seed": SEED}
        try:
            texts = [_text(self._ask(body)) for _ in range(2)]
        except CallFailed as failure:
            return Check(name, "WARN", self._reason(failure))
        with_seed = (
            "without a seed, which is refused" if "seed" in self._gateway.refused_fields else f"with seed {SEED}"
        )
        if texts[0] != texts[1]:
            return Check(name, "WARN", f"two answers differ at temperature 0 {with_seed}")
        return Check(name, "OK", f"at temperature 0 {with_seed}")

    def _usage(self) -> Check:
        answered = [attempt for attempt in self._attempts if attempt.status == "ok"]
        if not all(attempt.usage_known for attempt in answered):
            return Check("Token counts", "WARN", "are not reported: cost and tokens per minute cannot be known")
        if any(attempt.cost_usd is None for attempt in answered):
            detail = "are reported; the price is unknown, give input_price_per_million and output_price_per_million"
            return Check("Token counts", "WARN", detail)
        return Check("Token counts", "OK", "are reported, the price is known")

    def _try(self, name: str, body: Mapping[str, Any], holds: Callable[[Mapping[str, Any]], bool], words: str) -> Check:
        try:
            answer = self._ask(body)
        except CallFailed as failure:
            return Check(name, "WARN", self._reason(failure))
        if holds(answer):
            return Check(name, "OK", words)
        return Check(name, "WARN", f"not so: the answer was {_shown(answer)}")

    def _reason(self, failure: CallFailed) -> str:
        """Return why, and replace a gateway that would not ask any more."""
        if self._gateway.fatal_failure is not None:
            self._close()
            self._gateway = self._make(self._attempts.append)
        return f"not offered: {failure.reason}"

    def _ask(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        body = {"temperature": 0.0, "max_completion_tokens": self._max_answer, **fields}
        completion: Mapping[str, Any] = self._gateway.complete_sync(body, "check")["choices"][0]
        self._refused |= self._gateway.refused_fields
        return completion

    def _close(self) -> None:
        self._refused |= self._gateway.refused_fields
        self._gateway.close_sync()


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _text(choice: Mapping[str, Any]) -> str:
    content = choice["message"].get("content")
    return content if isinstance(content, str) else ""


def _finish(choice: Mapping[str, Any]) -> str:
    return f"finish_reason {choice.get('finish_reason')!r}"


def _shown(choice: Mapping[str, Any]) -> str:
    return repr(_text(choice)[:60]) if _text(choice) else f"without text, {_finish(choice)}"


def _holds_topic(text: object) -> bool:
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("topic") in CHOICES


def _calls_classify(choice: Mapping[str, Any]) -> bool:
    calls = choice["message"].get("tool_calls")
    first = calls[0] if isinstance(calls, list) and calls else None
    function = first.get("function") if isinstance(first, dict) else None
    return isinstance(function, dict) and function.get("name") == "classify" and _holds_topic(function.get("arguments"))


def _has_logprobs(choice: Mapping[str, Any]) -> bool:
    logprobs = choice.get("logprobs")
    return isinstance(logprobs, dict) and bool(logprobs.get("content"))


def _failed(check: Check) -> Check:
    return Check(check.name, "FAIL", f"{check.detail}; policy.output_mode asks for it")
