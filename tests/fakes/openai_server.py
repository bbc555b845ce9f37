"""A scripted model endpoint: a real server on loopback that speaks the OpenAI chat API.

In a test::

    with ScriptedOpenAI(answer=lambda body: "card_arrival") as server:
        ask(server.base_url, server.key)
        assert server.requests[0].body["model"] == "gpt-4o-mini"

``answer`` gets the request body and returns a text (put into the form that the request asks for: tool call, JSON or
plain), or a :class:`Scripted` for anything else: errors, delays, damaged answers. As a process, for tests that start
everything as a user does::

    python -m tests.fakes.openai_server --port 0 --script keyword     # prints: ready http://127.0.0.1:PORT/v1

The key is ``SCRIPTED_OPENAI_KEY`` of the environment, or :data:`DEFAULT_KEY`.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import hashlib
import hmac
import itertools
import json
import os
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import uvicorn

DEFAULT_KEY = "sk-scripted-0123456789abcdef0123456789abcdef"
KEY_VARIABLE = "SCRIPTED_OPENAI_KEY"
Body = dict[str, Any]


@dataclass(frozen=True)
class Scripted:
    """One answer. By default a good completion; the class methods make the bad ones.

    Attributes:
        text: what the model says, put into the form that the request asks for.
        message: the whole assistant message instead.
        raw: the whole body instead, as it is.
        delay_seconds: wait before the first byte.
        drip_seconds: wait before each further byte.
        cut: close the connection in the middle of the body.
        usage: ``None`` counts tokens; anything else is sent as it is, ``False`` leaves the field out.
    """

    text: str = ""
    message: Mapping[str, Any] | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    content_type: str = "application/json"
    delay_seconds: float = 0.0
    drip_seconds: float = 0.0
    cut: bool = False
    usage: Any = None
    finish_reason: str | None = None

    @classmethod
    def error(
        cls,
        status: int,
        code: str | None = None,
        message: str = "scripted failure",
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Scripted:
        """An error in OpenAI's shape."""
        kind = "invalid_request_error" if status < 500 else "server_error"
        body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
        return cls(status=status, raw=json.dumps(body).encode(), headers=headers or {})

    @classmethod
    def rate_limited(cls, retry_after: str | None = "1") -> Scripted:
        """429, with a Retry-After as given."""
        headers = {} if retry_after is None else {"retry-after": retry_after}
        return cls.error(429, "rate_limit_exceeded", "Rate limit reached for requests.", headers=headers)

    @classmethod
    def out_of_quota(cls) -> Scripted:
        """429 that no waiting helps against."""
        return cls.error(429, "insufficient_quota", "You exceeded your current quota.")

    @classmethod
    def context_too_long(cls) -> Scripted:
        """400 for a prompt that is too long."""
        message = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
        return cls.error(400, "context_length_exceeded", message, "messages")

    @classmethod
    def unknown_model(cls) -> Scripted:
        """404 for the model."""
        return cls.error(404, "model_not_found", "The model does not exist or you do not have access to it.", "model")

    @classmethod
    def refuses(cls, param: str) -> Scripted:
        """400 for a field that this model does not support."""
        code = "unsupported_value" if param == "temperature" else "unsupported_parameter"
        return cls.error(400, code, f"Unsupported parameter: '{param}' is not supported with this model.", param)

    @classmethod
    def html(cls, status: int = 200) -> Scripted:
        """A web page where an API should be."""
        page = b"<html><body><h1>It works!</h1></body></html>"
        return cls(status=status, raw=page, content_type="text/html")

    @classmethod
    def truncated(cls) -> Scripted:
        """Half a JSON document, well delivered."""
        return cls(raw=b'{"id": "chatcmpl-1", "object": "chat.completion", "choices": [{"ind')

    @classmethod
    def no_choices(cls) -> Scripted:
        """A completion without any choice."""
        return cls(raw=b'{"object": "chat.completion", "choices": [], "usage": {}}')


Answer = Callable[[Body], "str | Scripted"]


@dataclass(frozen=True)
class Received:
    """One request as it came in, ``raw`` its body. Keys in ``headers`` are masked; ``at`` is ``time.monotonic()``."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Body
    authorized: bool
    at: float
    raw: bytes = b""


class ScriptedOpenAI:
    """The server, running inside ``with``. Its thread, loop and port are its own.

    Attributes:
        base_url: ends in ``/v1``; set once it runs.
        requests: every request so far, refused ones included.
        peak: most requests that were under way at once.
    """

    def __init__(
        self,
        answer: Answer = lambda _body: "ok",
        *,
        key: str = DEFAULT_KEY,
        port: int = 0,
        fault_rate: float = 0.0,
        seed: int = 0,
        rate_limit: tuple[int, float] | None = None,
        record: bool = True,
    ) -> None:
        """Prepare the server.

        Args:
            answer: decides each answer; called on the server's thread. May be exchanged while it runs.
            key: the bearer key that is accepted.
            port: 0 takes a free one.
            fault_rate: share of requests (0..1) that meet one of :data:`FAULTS`; drawn from ``seed``, the body and how
                often it came, so that it does not depend on the order of arrival.
            rate_limit: ``(requests, seconds)``: more within that time are answered 429.
            record: whether to keep the requests.
        """
        self.answer = answer
        self.key = key
        self.base_url = ""
        self.requests: list[Received] = []
        self.peak = 0
        self._port = port
        self._fault_rate = fault_rate
        self._seed = seed
        self._rate_limit = rate_limit
        self._record = record
        self._active = 0
        self._mistakes: list[Exception] = []
        self._seen: Counter[str] = Counter()
        self._accepted: list[float] = []
        self._stopping: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> ScriptedOpenAI:
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self._port))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        options: dict[str, Any] = {
            "log_config": None,
            "log_level": "critical",
            "ws": "none",
            "http": "h11",
            "interface": "asgi3",
        }
        self._server = uvicorn.Server(
            uvicorn.Config(self._app, lifespan="off", access_log=False, timeout_graceful_shutdown=2, **options)
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, name="scripted-openai", daemon=True
        )
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        return self

    def __exit__(self, kind: object, *_exc: object) -> None:
        self._server.should_exit = True
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout=10)
        self._listener.close()
        if self._mistakes and kind is None:
            raise self._mistakes[0]  # a script that fails is the test's mistake, not a scripted failure

    def fail(self, share: float, seed: int = 0) -> None:
        """From now on let ``share`` of the requests (0..1) meet one of :data:`FAULTS`."""
        self._fault_rate, self._seed = share, seed
        self._seen.clear()

    @property
    def bodies(self) -> list[Body]:
        """The bodies of the requests that had the right key."""
        return [request.body for request in self.requests if request.authorized]

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if self._stopping is None:
            self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._active += 1
        self.peak = max(self.peak, self._active)
        try:
            raw = await _read(receive)
            body = _as_json(raw)
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            scripted = self._decide(scope["method"], scope["path"], headers, body, raw)
            await self._send(scripted, body if isinstance(body, dict) else {}, send)
        except Exception as exc:
            self._mistakes.append(exc)
            raise
        finally:
            self._active -= 1

    def _decide(self, method: str, path: str, headers: dict[str, str], body: Any, raw: bytes) -> Scripted:
        sent = headers.get("authorization", "").encode("latin-1")
        authorized = hmac.compare_digest(sent, f"Bearer {self.key}".encode("latin-1"))
        if self._record:
            masked = {k: "***" if k in ("authorization", "x-api-key") else v for k, v in headers.items()}
            seen = body if isinstance(body, dict) else {}
            self.requests.append(Received(method, path, masked, seen, authorized, time.monotonic(), raw))
        if not authorized:
            return Scripted.error(401, "invalid_api_key", f"Incorrect API key provided: {sent.decode('latin-1')}.")
        if method == "GET" and path == "/v1/models":
            return Scripted(raw=b'{"object": "list", "data": [{"id": "scripted", "object": "model"}]}')
        if path != "/v1/chat/completions":
            return Scripted.error(404, None, f"Invalid URL ({method} {path})")
        if method != "POST":
            return Scripted.error(405, None, "Method not allowed")
        if not isinstance(body, dict) or not body.get("messages") or not body.get("model"):
            return Scripted.error(400, None, "you must provide a model and messages")
        if body.get("stream"):
            return Scripted.error(400, None, "streams are not scripted", "stream")
        return self._limited() or self._fault(body) or _as_scripted(self.answer(body))

    def _limited(self) -> Scripted | None:
        if self._rate_limit is None:
            return None
        allowed, seconds = self._rate_limit
        now = time.monotonic()
        self._accepted = [at for at in self._accepted if now - at < seconds]
        if len(self._accepted) >= allowed:
            return Scripted.rate_limited(f"{self._accepted[0] + seconds - now:.3f}")
        self._accepted.append(now)
        return None

    def _fault(self, body: Body) -> Scripted | None:
        if not self._fault_rate:
            return None
        text = json.dumps(body, sort_keys=True)
        self._seen[text] += 1
        rng = random.Random(f"{self._seed}/{self._seen[text]}/{text}")
        return rng.choice(FAULTS) if rng.random() < self._fault_rate else None

    async def _send(self, scripted: Scripted, body: Body, send: Any) -> None:
        await self._wait(scripted.delay_seconds)
        content = scripted.raw if scripted.raw is not None else json.dumps(_completion(scripted, body)).encode()
        headers = {
            "content-type": scripted.content_type,
            "content-length": str(len(content)),
            "x-request-id": "req_scripted",
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-remaining-requests": "0" if scripted.status == 429 else "9999",
            **scripted.headers,
        }
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": scripted.status, "headers": raw})
        if scripted.cut:  # leaving without the rest makes uvicorn close the connection
            await send({"type": "http.response.body", "body": content[: len(content) // 2], "more_body": True})
            return
        if scripted.drip_seconds:
            for position in range(len(content)):
                chunk = content[position : position + 1]
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if await self._wait(scripted.drip_seconds):
                    return
            content = b""
        await send({"type": "http.response.body", "body": content})

    async def _wait(self, seconds: float) -> bool:
        """Wait, but no longer than the server runs; return whether it is stopping."""
        assert self._stopping is not None
        if seconds > 0:
            try:
                await asyncio.wait_for(self._stopping.wait(), seconds)
            except TimeoutError:
                return False
        return self._stopping.is_set()


FAULTS: Sequence[Scripted] = (
    Scripted.error(500),
    Scripted.error(502),
    Scripted.error(503),
    Scripted.error(529, "overloaded_error", "Overloaded"),
    Scripted.rate_limited("0"),
    Scripted.html(),
    Scripted.html(502),
    Scripted.truncated(),
    Scripted.no_choices(),
    replace(Scripted("ok"), cut=True),
)
"""Failures that pass: each of them may go well the next time."""


def keyword_answer(body: Body, truth: Mapping[str, str] | None = None) -> str:
    """Answer like a mediocre model: deterministic, and better with some prompts than with others.

    It knows the labels from the request's enum or from an ``Intents: a, b`` list and guesses the one that ``truth``
    has for the query, else the one whose words (and whose demonstrations' words) the query shares most. It keeps to
    its guess more often the better the prompt is: a function of the system text and of the demonstrations, 0.35 to
    0.95. Without labels it writes an instruction.
    """
    labels, messages = find_labels(body), body["messages"]
    system = next((str(m.get("content")) for m in messages if m.get("role") in ("system", "developer")), "")
    users = [str(m.get("content")) for m in messages if m.get("role") == "user"]
    if not labels or not users:
        return f"{INSTRUCTIONS[_number(messages, len(INSTRUCTIONS))]} Rule {_number([messages, 'rule'], 1000)} applies."
    demos = list(_demos(messages))
    skill = 0.35 + 0.25 * _share([system])
    skill += 0.2 * min(len(demos), 8) / 8 + 0.15 * _share(demos) if demos else 0.0
    if _share([system, len(demos), users[-1]]) < skill:
        guess = (truth or {}).get(users[-1])
        return guess if guess in labels else max(labels, key=lambda label: _overlap(users[-1], label, demos))
    return labels[_number([system, users[-1]], len(labels))]


INSTRUCTIONS = (
    "Decide which intent the customer's message expresses and answer with its name only.",
    "Read the message, weigh what the customer wants to happen, and name the single fitting intent.",
    "You route banking messages. Compare similar intents before you choose; give one name, nothing else.",
    "Name the intent. Mind whether something has failed, is late or is only asked about.",
    "Think of the request behind the words and answer with exactly one of the listed intents.",
)
SCRIPTS: Mapping[str, Answer] = {"keyword": keyword_answer, "echo": lambda body: str(body["messages"][-1]["content"])}


def find_labels(body: Body) -> list[str]:
    """Return the values of the first enum in the request's tools or schema, or of an ``Intents:`` list."""
    schemas = [(tool.get("function") or {}).get("parameters") for tool in body.get("tools") or []]
    schemas.append(((body.get("response_format") or {}).get("json_schema") or {}).get("schema"))
    for schema in filter(None, schemas):
        for part in (schema, *(schema.get("properties") or {}).values()):
            if part.get("enum"):
                return [str(value) for value in part["enum"]]
    text = "\n".join(str(m.get("content")) for m in body["messages"] if m.get("role") == "system")
    listed = re.search(r"Intents: (.+)", text)
    return [label.strip() for label in listed[1].split(",")] if listed else []


def read_truth(path: str) -> dict[str, str]:
    """Return the label of each query of a CSV file with the columns ``text`` and ``category``."""
    with open(path, encoding="utf-8", newline="") as file:
        return {row["text"]: row["category"] for row in csv.DictReader(file)}


def _as_scripted(answer: str | Scripted) -> Scripted:
    return Scripted(answer) if isinstance(answer, str) else answer


def _completion(scripted: Scripted, body: Body) -> Body:
    message = dict(scripted.message) if scripted.message is not None else _message(scripted.text, body)
    reason = scripted.finish_reason or ("tool_calls" if message.get("tool_calls") else "stop")
    completion: Body = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body.get("model"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
    }
    if scripted.usage is None:
        prompt, said = _tokens(body.get("messages")), _tokens(message)
        completion["usage"] = {
            "prompt_tokens": prompt,
            "completion_tokens": said,
            "total_tokens": prompt + said,
            "prompt_tokens_details": {"cached_tokens": 0},
        }
    elif scripted.usage is not False:
        completion["usage"] = scripted.usage
    return completion


def _message(text: str, body: Body) -> Body:
    """Return ``text`` as a tool call, as JSON, or plain, whatever the request asks for."""
    tools, choice = body.get("tools") or [], body.get("tool_choice")
    if tools and (choice == "required" or isinstance(choice, dict)):
        wanted = choice["function"]["name"] if isinstance(choice, dict) else tools[0]["function"]["name"]
        function = next(tool["function"] for tool in tools if tool["function"]["name"] == wanted)
        arguments = json.dumps({_only_property(function.get("parameters")): text})
        call = {"id": "call_scripted", "type": "function", "function": {"name": wanted, "arguments": arguments}}
        return {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None}
    answer_format = body.get("response_format") or {}
    if answer_format.get("type") == "json_schema":
        text = json.dumps({_only_property(answer_format["json_schema"].get("schema")): text})
    return {"role": "assistant", "content": text, "refusal": None}


def _only_property(schema: Any) -> str:
    return str(next(iter((schema or {}).get("properties") or {}), "answer"))


def _tokens(value: object) -> int:
    return len(json.dumps(value)) // 4 + 1


def _demos(messages: Sequence[Body]) -> Iterator[tuple[str, str]]:
    """Yield query and answer of each solved example among the messages."""
    for question, answer in itertools.pairwise(messages):
        if question.get("role") == "user" and answer.get("role") == "assistant":
            yield str(question.get("content")), json.dumps([answer.get("content"), answer.get("tool_calls")])


def _overlap(query: str, label: str, demos: Sequence[tuple[str, str]]) -> int:
    asked = _words(query)
    shown = [len(asked & _words(text)) for text, answer in demos if label in answer]
    return 2 * len(asked & _words(label.replace("_", " "))) + max(shown, default=0)


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{3,}", text.lower()))


def _number(value: object, below: int) -> int:
    return int(hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest(), 16) % below


def _share(value: object) -> float:
    return _number(value, 1_000_000) / 1_000_000


async def _read(receive: Any) -> bytes:
    data, more = b"", True
    while more:
        message = await receive()
        data += message.get("body", b"")
        more = message.get("more_body", False)
    return data


def _as_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="A scripted OpenAI-compatible server on loopback.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", choices=sorted(SCRIPTS), default="keyword")
    parser.add_argument("--truth", metavar="CSV", help="text and category of the queries, for the keyword script")
    parser.add_argument("--fault-rate", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    key = os.environ.get(KEY_VARIABLE, DEFAULT_KEY)
    faults = {"fault_rate": options.fault_rate, "seed": options.seed}
    answer = SCRIPTS[options.script]
    if options.truth:
        answer = partial(keyword_answer, truth=read_truth(options.truth))
    server = ScriptedOpenAI(answer, key=key, port=options.port, record=False, **faults)
    with server:
        print(f"ready {server.base_url}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
