"""Nothing an endpoint can send crashes the reader, and no key gets through the redactor."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from mipro_walk.clients.pricing import TokenUsage
from mipro_walk.clients.replies import (
    CallFailed,
    FatalCallError,
    Redactor,
    Reply,
    read_completion,
    read_failure,
    retry_after_seconds,
)

KEY = "sk-canary/0123456789+abcdef=="
redact = Redactor(SecretStr(KEY))


def completion(message: Any = None, **more: Any) -> bytes:
    message = {"role": "assistant", "content": "x"} if message is None else message
    return json.dumps({"choices": [{"message": message}], **more}).encode()


GARBAGE = {
    "empty": b"",
    "html": b"<html></html>",
    "truncated": b'{"choices": [{"mess',
    "array": b"[]",
    "string": b'"hello"',
    "object": b"{}",
    "no choices": b'{"choices": []}',
    "choices null": b'{"choices": null}',
    "choices object": b'{"choices": {}}',
    "choice null": b'{"choices": [null]}',
    "no message": b'{"choices": [{}]}',
    "content number": b'{"choices": [{"message": {"content": 3}}]}',
    "error with 200": b'{"error": {"message": "overloaded"}}',
    "nan": b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": NaN}}',
    "infinite": b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 1e999}}',
    "huge integer": b'{"choices": [{"message": {"content": "x"}}], "n": ' + b"9" * 5000 + b"}",
    "deep": b"[" * 200_000 + b"]" * 200_000,
    "not utf-8": b'{"choices": "\xff\xfe"}',
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_completion_is_garbage_and_may_be_tried_again(content: bytes) -> None:
    with pytest.raises(CallFailed) as caught:
        read_completion(Reply(200, content))
    assert (caught.value.kind, caught.value.retryable) == ("garbage", True)


@pytest.mark.parametrize(
    "message",
    [
        {"content": None},
        {"content": ""},
        {"content": "x" * 1_000_000},
        {"content": "a\x00b\x1b[31m"},
        {"content": None, "tool_calls": []},
        {"content": [{"type": "text", "text": "x"}]},
        {"content": None, "refusal": "no"},
        {},
    ],
)
def test_whatever_the_model_says_is_a_completion(message: Any) -> None:
    assert read_completion(Reply(200, completion(message))).body["choices"][0]["message"] == message


def test_lone_surrogates_are_replaced_and_pairs_kept() -> None:
    content = rb'{"choices": [{"message": {"content": "a\ud800b \ud83d\ude00"}}]}'
    text = read_completion(Reply(200, content)).body["choices"][0]["message"]["content"]
    assert text == "a\ufffdb \U0001f600"


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        {"prompt_tokens": 1},
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": "1", "completion_tokens": 1},
        {"prompt_tokens": 10**12, "completion_tokens": 1},
    ],
)
def test_usage_that_cannot_be_is_unknown(usage: Any) -> None:
    assert read_completion(Reply(200, completion(usage=usage))).usage is None


def test_usage_counts_cached_tokens_within_the_prompt() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 9}}
    assert read_completion(Reply(200, completion(usage=usage))).usage == TokenUsage(5, 2, 5)


@pytest.mark.parametrize(
    ("status", "code", "kind", "fatal", "retryable"),
    [
        (301, None, "model", True, False),
        (400, "context_length_exceeded", "request", False, False),
        (401, "invalid_api_key", "key", True, False),
        (402, None, "quota", True, False),
        (403, None, "key", True, False),
        (404, "model_not_found", "model", True, False),
        (408, None, "server", False, True),
        (409, None, "server", False, True),
        (413, None, "request", False, False),
        (422, None, "request", False, False),
        (425, None, "server", False, True),
        (429, "rate_limit_exceeded", "rate_limit", False, True),
        (429, "insufficient_quota", "quota", True, False),
        (500, None, "server", False, True),
        (529, "overloaded_error", "server", False, True),
        (204, None, "garbage", False, True),
    ],
)
def test_each_status_has_its_meaning(status: int, code: str | None, kind: str, fatal: bool, retryable: bool) -> None:
    body = json.dumps({"error": {"message": "why", "code": code}}).encode()
    failure = read_failure(Reply(status, body), redact)
    assert (failure.kind, isinstance(failure, FatalCallError), failure.retryable) == (kind, fatal, retryable)
    assert failure.status == status
    assert failure.fix


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("1", 1.0),
        ("2.5", 2.5),
        ("3600", 3600.0),
        (format_datetime(NOW + timedelta(seconds=7), usegmt=True), 7.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        *(
            (bad, None)
            for bad in ("-1", "nan", "inf", "1e999", "soon", "1_0", "١", "Mon, 99 Jan 2026", "\x00", "9" * 400)
        ),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
@pytest.mark.parametrize("shown", [KEY, quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode(), f"Bearer {KEY}"])
def test_a_key_that_the_endpoint_echoes_is_not_in_the_failure(status: int, shown: str) -> None:
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {shown}.", "code": shown}}).encode()
    failure = read_failure(Reply(status, body), redact)
    told = f"{failure} {failure.reason} {failure.fix} {failure!r} {failure.args}"
    for secret in (KEY, KEY[:8], quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode().rstrip("=")):
        assert secret not in told


@given(st.binary(max_size=300), st.sampled_from([200, 204, 302, 400, 404, 429, 500]))
def test_random_bytes_end_as_a_completion_or_a_failure(content: bytes, status: int) -> None:
    with suppress(CallFailed):
        read_completion(Reply(status, content))
    assert len(read_failure(Reply(status, content), redact).reason) <= 300


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("choices", "usage", "error", "model", "detail"), _json)))
def test_random_objects_end_as_a_completion_or_a_failure(body: Any) -> None:
    content = json.dumps(body).encode()
    with suppress(CallFailed):
        read = read_completion(Reply(200, content))
        json.dumps(read.body, allow_nan=False, ensure_ascii=False).encode()
    reason = read_failure(Reply(400, content), redact).reason
    assert reason == reason.encode().decode()
    assert "\x1b" not in reason
    assert "\n" not in reason
