"""A simulated model with a known truth behind an OpenAI-compatible endpoint, for benchmarks beside a peer.

    python benchmarks/peer_endpoint.py --latency 0.2 --faults 0.1      # prints its base URL, serves until it is ended

Needs nothing but Python: the interpreter of a peer can use :class:`Landscape` too. A prompt has a true accuracy, a
function of a seed, its instruction and its demonstrations. Whether a row is answered rightly follows from the row's
difficulty and from chance drawn for this prompt and row, so the same question always has the same answer. The model
``sim-meta`` writes instructions; every other model answers rows. Both prompt shapes are understood: chat turns with a
tool call, and the field markers of DSPy's chat adapter.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import hashlib
import json
import math
import re
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Any

SAMPLE = Path(__file__).parents[1] / "task_apps/banking77/sample/banking_queries.csv"
POLICY_MODEL, META_MODEL = "sim-policy", "sim-meta"
BASELINE_SKILL = 0.60
INSTRUCTION_SPREAD, DEMO_MEAN, DEMO_SPREAD, INTERACTION_SPREAD = 0.06, 0.012, 0.018, 0.02
SKILL_RANGE = (0.05, 0.95)
ROW_SHARE = 0.8
"""How much of a row's outcome is the row's own difficulty (a correlation); the rest is drawn per prompt and row."""
TOKENS = {"prompt_tokens": 200, "completion_tokens": 8, "total_tokens": 208}
NORMAL = NormalDist()

_FIELD = re.compile(r"`\[\[ ## (\w+) ## \]\]`")
_QUERY = re.compile(r"\[\[ ## query ## \]\]\n(.*?)(?:\n\n(?:\[\[ ##|Respond with)|\Z)", re.DOTALL)
_OBJECTIVE = "your objective is:"


@dataclass(frozen=True)
class Prompt:
    """What of a request decides its accuracy: the instruction and the queries of the demonstrations, in order."""

    instruction: str
    demos: tuple[str, ...] = ()


@dataclass(frozen=True)
class Landscape:
    """True accuracies. ``truth`` maps each query to its label; ``baseline`` is the prompt everybody starts from."""

    seed: int
    truth: Mapping[str, str]
    baseline: str

    def accuracy(self, prompt: Prompt) -> float:
        """Return the true accuracy (0..1) of a prompt over all rows there could be."""
        skill = BASELINE_SKILL
        if _plain(prompt.instruction) != _plain(self.baseline):
            skill += INSTRUCTION_SPREAD * self._normal("instruction", _plain(prompt.instruction))
        for demo in prompt.demos:
            skill += DEMO_MEAN + DEMO_SPREAD * self._normal("demo", demo)
        if prompt.demos:
            skill += INTERACTION_SPREAD * self._normal("both", _plain(prompt.instruction), *sorted(prompt.demos))
        return min(max(skill, SKILL_RANGE[0]), SKILL_RANGE[1])

    def answer(self, prompt: Prompt, query: str) -> str:
        """Return the label that this prompt gets for this query."""
        own, shared = self._normal("row", query), self._normal("noise", repr(prompt), query)
        luck = ROW_SHARE * own + math.sqrt(1 - ROW_SHARE**2) * shared
        right = self.truth[query]
        if NORMAL.cdf(luck) < self.accuracy(prompt):
            return right
        wrong = sorted(set(self.truth.values()) - {right})
        return wrong[int(self._share("wrong", repr(prompt), query) * len(wrong))]

    def _normal(self, *parts: str) -> float:
        return NORMAL.inv_cdf(min(max(self._share(*parts), 1e-9), 1 - 1e-9))

    def _share(self, *parts: str) -> float:
        """Return a number in 0..1 drawn from the seed and ``parts``."""
        digest = hashlib.sha256(json.dumps([self.seed, *parts]).encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2**56


def sample_truth(path: Path = SAMPLE) -> dict[str, str]:
    """Return the label of each query of the shipped sample."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["text"]: row["category"] for row in csv.DictReader(file)}


def read_prompt(messages: Sequence[Mapping[str, Any]]) -> tuple[Prompt, str]:
    """Return the prompt of a request and its query: the last user message, its markers taken off."""
    system = next((str(m.get("content")) for m in messages if m.get("role") in ("system", "developer")), "")
    users = [_query(str(m.get("content"))) for m in messages if m.get("role") == "user"]
    instruction = textwrap.dedent(system.partition(_OBJECTIVE)[2]) if _OBJECTIVE in system else system
    return Prompt(instruction, tuple(users[:-1])), users[-1]


def asked_fields(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the output fields that DSPy's chat adapter asks for at the end of the last message; else nothing."""
    last = str(messages[-1].get("content"))
    request = last[last.rfind("Respond with the corresponding output fields") :]
    return [name for name in _FIELD.findall(request) if name != "completed"]


def in_fields(values: Mapping[str, str]) -> str:
    """Return an answer with DSPy's field markers."""
    return "\n\n".join([*(f"[[ ## {name} ## ]]\n{text}" for name, text in values.items()), "[[ ## completed ## ]]"])


def meta_text(messages: Sequence[Mapping[str, Any]], number: int) -> str:
    """Return a new instruction, another one for each ``number`` and each request."""
    code = hashlib.sha256(json.dumps([list(messages), number], default=str).encode()).hexdigest()[:6]
    return (
        f"Read the customer's message and name the one intent it expresses. Apply rule {code} where intents are close."
    )


def _query(content: str) -> str:
    found = _QUERY.search(content)
    return found[1].strip() if found else content


def _plain(text: str) -> str:
    return " ".join(text.split())


# ---- faults


@dataclass(frozen=True)
class Faults:
    """What goes wrong at the endpoint, for row calls only.

    Attributes:
        share: share of calls (0..1) that answer 500, drawn from the seed, the request and how often it came.
        outages: pairs of (row call with which it begins, seconds): every call within answers 429.
        retry_after: whether a 429 says for how many seconds it lasts.
    """

    share: float = 0.0
    outages: tuple[tuple[int, float], ...] = ()
    retry_after: bool = False


@dataclass
class Counts:
    """What the endpoint has seen. Times are by ``time.monotonic()`` of this machine, in seconds."""

    policy: int = 0
    meta: int = 0
    repeated: int = 0
    failed_500: int = 0
    failed_429: int = 0
    peak: int = 0
    first_at: float = 0.0
    last_at: float = 0.0


@dataclass
class Model:
    """Decides each answer. One event loop."""

    landscape: Landscape
    faults: Faults
    counts: Counts = field(default_factory=Counts)
    _arrived: int = 0
    _seen: Counter[str] = field(default_factory=Counter)
    _outage_ends: float = 0.0

    def decide(self, body: Mapping[str, Any]) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Return status, headers and body of the answer."""
        if body["model"].endswith(META_MODEL):
            self.counts.meta += 1
            return 200, {}, completion(body, self._proposal(body["messages"]))
        now = time.monotonic()
        self.counts.first_at = self.counts.first_at or now
        self._arrived += 1
        key = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()
        self._seen[key] += 1
        if (left := self._outage_left(now)) > 0:
            self.counts.failed_429 += 1
            headers = {"retry-after": str(math.ceil(left))} if self.faults.retry_after else {}
            return 429, headers, error("rate_limit_exceeded", "Rate limit reached for requests.")
        if self.landscape._share("fault", key, str(self._seen[key])) < self.faults.share:
            self.counts.failed_500 += 1
            return 500, {}, error("server_error", "The server had an error.")
        self._count(key, now)
        return 200, {}, completion(body, self._label(body))

    def _count(self, key: str, now: float) -> None:
        self.counts.policy += 1
        self.counts.repeated += self._seen[f"ok {key}"] > 0
        self._seen[f"ok {key}"] += 1
        self.counts.last_at = now

    def _outage_left(self, now: float) -> float:
        for begins, seconds in self.faults.outages:
            if self._arrived == begins:
                self._outage_ends = now + seconds
        return self._outage_ends - now

    def _label(self, body: Mapping[str, Any]) -> str:
        prompt, query = read_prompt(body["messages"])
        label = self.landscape.answer(prompt, query)
        names = asked_fields(body["messages"])
        return in_fields(dict.fromkeys(names, label)) if names else label

    def _proposal(self, messages: Sequence[Mapping[str, Any]]) -> str:
        text = meta_text(messages, self.counts.meta)
        names = asked_fields(messages)
        return in_fields(dict.fromkeys(names, text)) if names else text


def error(code: str, message: str) -> dict[str, Any]:
    """Return an error in OpenAI's shape."""
    return {"error": {"message": message, "type": "server_error", "param": None, "code": code}}


def completion(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return a chat completion that says ``text``: as a tool call where tools are offered."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if tools := body.get("tools"):
        function = tools[0]["function"]
        arguments = json.dumps({next(iter(function["parameters"]["properties"])): text})
        call = {"id": "call_1", "type": "function", "function": {"name": function["name"], "arguments": arguments}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": TOKENS,
    }


# ---- the server: HTTP/1.1 by hand, kept alive, any number at once


class Connection(asyncio.Protocol):
    """One connection. A row call is answered after the latency, everything else at once."""

    def __init__(self, model: Model, latency: float, open_calls: set[object]) -> None:
        self._model, self._latency, self._open = model, latency, open_calls
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._data += data
        while (request := self._next_request()) is not None:
            self._serve(*request)

    def _serve(self, method: bytes, content: bytes) -> None:
        if method == b"GET":
            self._send(200, {}, asdict(self._model.counts))
            return
        body = json.loads(content)
        answer = self._model.decide(body)
        is_slow = answer[0] == 200 and not body["model"].endswith(META_MODEL)
        call = object()
        self._open.add(call)
        self._model.counts.peak = max(self._model.counts.peak, len(self._open))
        asyncio.get_running_loop().call_later(self._latency if is_slow else 0.0, self._finish, call, answer)

    def _finish(self, call: object, answer: tuple[int, dict[str, str], dict[str, Any]]) -> None:
        self._open.discard(call)
        if not self._transport.is_closing():
            self._send(*answer)

    def _send(self, status: int, headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
        content = json.dumps(body).encode()
        fields = {"content-type": "application/json", "content-length": str(len(content)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._transport.write(f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode() + content)

    def _next_request(self) -> tuple[bytes, bytes] | None:
        head, separator, rest = self._data.partition(b"\r\n\r\n")
        if not separator:
            return None
        lines = head.split(b"\r\n")
        fields = dict(line.lower().split(b":", 1) for line in lines[1:])
        length = int(fields.get(b"content-length", b"0"))
        if len(rest) < length:
            return None
        self._data = rest[length:]
        return lines[0].split(b" ", 1)[0], rest[:length]


async def serve(model: Model, latency: float) -> None:
    """Serve until the process is ended; print the base URL first."""
    open_calls: set[object] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(model, latency, open_calls), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


@dataclass(frozen=True)
class Endpoint:
    """A running endpoint."""

    base_url: str

    def counts(self) -> dict[str, Any]:
        """Return what it has seen so far (the fields of :class:`Counts`)."""
        with urllib.request.urlopen(f"{self.base_url}/counts", timeout=10) as response:
            return dict(json.load(response))


@contextmanager
def running_endpoint(seed: int, baseline: str, latency: float, faults: Faults | None = None) -> Iterator[Endpoint]:
    """Run an endpoint in a process of its own."""
    script = json.dumps({"seed": seed, "baseline": baseline, "latency": latency, "faults": asdict(faults or Faults())})
    with subprocess.Popen([sys.executable, __file__, "--script", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Endpoint(process.stdout.readline().strip())
        finally:
            process.terminate()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds of a row call (default: %(default)s)")
    parser.add_argument("--faults", type=float, default=0.0, help="share of row calls that answer 500")
    parser.add_argument("--script", help=argparse.SUPPRESS)
    options = parser.parse_args()
    script = {"seed": options.seed, "baseline": "", "latency": options.latency, "faults": {"share": options.faults}}
    script = json.loads(options.script) if options.script else script
    faults = script["faults"] | {"outages": tuple(map(tuple, script["faults"].get("outages", ())))}
    model = Model(Landscape(script["seed"], sample_truth(), script["baseline"]), Faults(**faults))
    asyncio.run(serve(model, script["latency"]))


if __name__ == "__main__":
    main()
