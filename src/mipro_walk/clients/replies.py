"""Reading what a model endpoint answered, trusting nothing in it: a completion, or a failure with its kind."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import quote

from pydantic import SecretStr

from mipro_walk.clients.pricing import TokenUsage
from mipro_walk.errors import IncompleteError

MAX_REASON_CHARS = 300
MAX_MODEL_CHARS = 128
MAX_TOKEN_COUNT = 10**9
"""A token count above this is a mistake of the endpoint, not usage."""

Kind = Literal[
    "key",  # fatal: the key was refused
    "quota",  # fatal: nothing left to spend
    "model",  # fatal: no such model, or no such address
    "tls",  # fatal: no trusted connection
    "request",  # this one request was refused
    "rate_limit",
    "server",
    "timeout",
    "connection",
    "garbage",
    "internal",
]
RETRYABLE_STATUSES = frozenset({408, 409, 425, 429})
QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
FAILED_GENERATION_CODES = frozenset({"tool_use_failed", "json_validate_failed"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")
_KEY_LIKE = re.compile(r"\b(?:sk|gsk|pk|xai|Bearer)[-_ ][A-Za-z0-9_*.\-]{6,}")
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_PLAIN_CODE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_FIXES: Mapping[str, str] = {
    "key": "Check the key and its permissions, then resume.",
    "quota": "Top up the account or raise its limit, then resume.",
    "model": "Correct the model's name or the base URL.",
    "tls": "Check the base URL, SSL_CERT_FILE and any proxy that replaces certificates.",
    "connection": "Check the network, the base URL and the proxy variables, then resume.",
}


class CallFailed(IncompleteError):
    """A model call that has ended without a completion: nothing was measured.

    Attributes:
        kind: what went wrong, see :data:`Kind`.
        status: HTTP status of the endpoint, ``None`` if it gave none.
        reason: one line, at most 300 characters, without any key.
        retryable: whether the same call may go well later.
    """

    code = "call_failed"

    def __init__(self, kind: Kind, status: int | None, reason: str, retryable: bool) -> None:
        super().__init__(f"The model call failed: {reason}", _FIXES.get(kind, "Resume to try the call again."))
        self.kind = kind
        self.status = status
        self.reason = reason
        self.retryable = retryable


class FatalCallError(CallFailed):
    """A failure that every further call would meet, too: stop once instead of failing a hundred times."""

    def __init__(self, kind: Kind, status: int | None, reason: str) -> None:
        super().__init__(kind, status, reason, False)


@dataclass(frozen=True, slots=True)
class Reply:
    """A raw HTTP answer. ``retry_after`` is the header as it came."""

    status: int
    content: bytes
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A checked chat completion.

    Attributes:
        body: the endpoint's object; ``choices[0].message`` is an object, all numbers are finite.
        usage: ``None`` if the endpoint sent none that can be used.
        model: the model that answered, ``""`` if it is not said.
        reported_cost: ``usage.cost`` in US dollars, if it is a usable number.
    """

    body: dict[str, Any]
    usage: TokenUsage | None
    model: str
    reported_cost: float | None


class Redactor:
    """Makes text from outside safe to show: one line, short, without the key in any usual form."""

    def __init__(self, key: SecretStr | None) -> None:
        secret = key.get_secret_value() if key else ""
        forms = {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")}
        if len(secret) >= 16:
            forms.add(secret[:8])
        self._forms = sorted((form for form in forms if form), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return ``text`` cleaned and cut to 300 characters."""
        text = text[: 40 * MAX_REASON_CHARS]
        for form in self._forms:
            text = text.replace(form, "***")
        text = _KEY_LIKE.sub("***", _CONTROL.sub(" ", without_surrogates(text)))
        return text.strip()[:MAX_REASON_CHARS]


def read_completion(reply: Reply) -> Completion:
    """Read a 200 answer.

    Raises:
        CallFailed: kind ``garbage``: it is no chat completion with a choice.
    """
    body = parse_object(reply.content)
    if body is None:
        raise _garbage(reply, "no JSON object")
    if isinstance(body.get("error"), dict) and "choices" not in body:
        raise _garbage(reply, "an error with status 200")
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise _garbage(reply, "a completion without choices")
    message = choices[0].get("message") if isinstance(choices[0], dict) else None
    if not isinstance(message, dict) or not isinstance(message.get("content"), str | list | None):
        raise _garbage(reply, "a choice without a message")
    usage = _read_usage(body.get("usage"))
    model = body.get("model")
    return Completion(
        body=body,
        usage=usage,
        model=_CONTROL.sub("", model)[:MAX_MODEL_CHARS] if isinstance(model, str) else "",
        reported_cost=_read_cost(body.get("usage")),
    )


def failed_generation(reply: Reply) -> Completion | None:
    """Return what the model wrote, if the endpoint refused it for not having the form that was asked for.

    Groq answers 400 then. The model did answer, only wrongly: a wrong answer, not an unknown one.
    """
    error = _error_object(reply.content)
    text = error.get("failed_generation")
    if reply.status != 400 or error.get("code") not in FAILED_GENERATION_CODES or not isinstance(text, str):
        return None
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Completion({"object": "chat.completion", "choices": [choice]}, None, "", None)


def read_failure(reply: Reply, redact: Redactor) -> CallFailed:
    """Return what a status other than 200 means."""
    status, error = reply.status, _error_object(reply.content)
    code = next((str(error[k]) for k in ("code", "type") if isinstance(error.get(k), str | int) and error[k]), "")
    code = code if _PLAIN_CODE.fullmatch(code) else ""
    if status in (401, 403):
        # The endpoint's text may quote the key; its code says enough.
        return FatalCallError("key", status, redact(f"the key was refused ({status}{code and ', ' + code})"))
    reason = redact(f"{status}: {error.get('message') or code or 'no reason given'}")
    if status == 402 or code in QUOTA_CODES:
        return FatalCallError("quota", status, reason)
    if status in (404, 405):
        return FatalCallError("model", status, reason)
    if 300 <= status < 400:
        return FatalCallError("model", status, f"the endpoint answered {status} and points elsewhere; not followed")
    if status == 429:
        return CallFailed("rate_limit", status, reason, True)
    if status >= 500 or status in RETRYABLE_STATUSES:
        return CallFailed("server", status, reason, True)
    if status < 300:
        return CallFailed("garbage", status, f"the endpoint answered {status} instead of 200", True)
    return CallFailed("request", status, reason, False)


def refused_parameter(reply: Reply, known: Mapping[str, str | None]) -> str | None:
    """Return which of the ``known`` request fields this endpoint says it does not support."""
    if reply.status not in (400, 422):
        return None
    error = _error_object(reply.content)
    message = str(error.get("message") or "")
    said = f"{error.get('code')} {message}".lower()
    if not any(word in said for word in ("unsupported", "not support", "unknown", "unrecognized", "unexpected")):
        return None
    if error.get("param") in known:
        return str(error["param"])
    named = (name for name in known if re.search(rf"['\"`]{name}['\"`]", message))
    return next(named, None)


def retry_after_seconds(header: str | None, now: datetime | None = None) -> float | None:
    """Return how long to wait by a Retry-After header (seconds or a date); ``None`` if it says nothing usable.

    >>> retry_after_seconds("2"), retry_after_seconds("-1"), retry_after_seconds("soon")
    (2.0, None, None)
    """
    if not header:
        return None
    if _SECONDS.fullmatch(header.strip()):
        return float(header)
    try:
        when = parsedate_to_datetime(header)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def parse_object(content: bytes) -> dict[str, Any] | None:
    """Return a JSON object with finite numbers and without lone surrogates; ``None`` if it is anything else."""
    try:
        text = content.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        if "\\ud" in text or "\\uD" in text:  # json.loads lets half of a pair through; nothing could store it
            value = _cleaned(value)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def without_surrogates(text: str) -> str:
    """Return ``text`` with lone surrogates replaced, so that it can be written as UTF-8."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {without_surrogates(key): _cleaned(item) for key, item in value.items()}
    return value


def _refuse(name: str) -> float:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _garbage(reply: Reply, what: str) -> CallFailed:
    return CallFailed("garbage", reply.status, f"the endpoint sent {what}", True)


def _error_object(content: bytes) -> Mapping[str, Any]:
    body = parse_object(content) or {}
    error = body.get("error", body.get("detail", body))
    if isinstance(error, dict):
        return error
    return {"message": error} if isinstance(error, str) else {}


def _read_usage(usage: object) -> TokenUsage | None:
    if not isinstance(usage, dict):
        return None
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if prompt is None or completion is None:
        return None
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return TokenUsage(prompt, completion, min(cached or 0, prompt))


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKEN_COUNT
    return value if is_count and isinstance(value, int) else None


def _read_cost(usage: object) -> float | None:
    cost = usage.get("cost") if isinstance(usage, dict) else None
    if not isinstance(cost, int | float) or isinstance(cost, bool) or not 0 <= cost < MAX_TOKEN_COUNT:
        return None
    return float(cost)
