"""CPU that our own processes spend on one rollout, beside the same question asked with the openai SDK.

    python benchmarks/overhead.py [--rollouts 500] [--concurrent 4] [--jobs 3]

Everything is real: a backend process with its ledger on disk, a task app process on the shipped sample, HTTP between
them. Only the model is a stand-in, in a process of its own that answers at once, so that its time is not ours. A first,
short job warms up; each of the others is measured from its submission to its end, by user and system time of each
process. The table shows the job with the median CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import psutil
from rich.console import Console
from rich.table import Table
from stack import Stack, seconds_of

from mipro_walk.config import get_profile
from task_apps.banking77.data import TaskData
from task_apps.banking77.prompts import answer_form, own_messages
from task_apps.banking77.sources import DataSource, load_task_data

TARGET_MS = 10.0
WARM_UP = 100
MODEL = "gpt-4o-mini"
MODEL_KEY = "sk-benchmark-0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Cost:
    """What one rollout, or one call, costs.

    Attributes:
        count: how many were made.
        cpu_ms: CPU milliseconds of each measured process.
        per_second: how many were made in a second of wall time.
    """

    count: int
    cpu_ms: tuple[float, ...]
    per_second: float

    @property
    def total_ms(self) -> float:
        """CPU milliseconds of all measured processes together."""
        return sum(self.cpu_ms)


# ---- the model: the least a chat endpoint can do


class InstantModel(asyncio.Protocol):
    """Answers each POST with a tool call to the first label of the request. HTTP/1.1 by hand, kept alive."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._data += data
        while (request := self._next_body()) is not None:
            content = json.dumps(completion(json.loads(request))).encode()
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
            self._transport.write(head.encode() + content)

    def _next_body(self) -> bytes | None:
        head, separator, rest = self._data.partition(b"\r\n\r\n")
        if not separator:
            return None
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", b"0"))
        if len(rest) < length:
            return None
        self._data = rest[length:]
        return rest[:length]


def completion(body: dict[str, Any]) -> dict[str, Any]:
    """Return a chat completion: a tool call where tools are offered, else a new instruction."""
    message: dict[str, Any] = {"role": "assistant", "content": f"Name the intent. Rule {secrets.token_hex(4)}."}
    if tools := body.get("tools"):
        function = tools[0]["function"]
        name, schema = next(iter(function["parameters"]["properties"].items()))
        label = schema.get("enum", ["card_arrival"])[0]
        call = {"name": function["name"], "arguments": json.dumps({name: label})}
        message = {"role": "assistant", "content": None}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": call}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 8, "total_tokens": 208},
    }


async def serve_model() -> None:
    """Serve until the process is ended; print the URL first."""
    server = await asyncio.get_running_loop().create_server(InstantModel, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


@contextmanager
def instant_model() -> Iterator[str]:
    """Run the model in a process of its own; yield its base URL."""
    command = [sys.executable, __file__, "--serve-model"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


# ---- our stack


def run_job(stack: Stack, rollouts: int, concurrent: int) -> Cost:
    """Run one job of about so many rollouts to its end and return what one of them costs."""
    processes = [psutil.Process(pid) for pid in stack.pids]
    before = [cpu_seconds(process) for process in processes]
    status = stack.run_job(job_document(stack.task_app_url, rollouts, concurrent))
    if status is None or status["status"] != "succeeded" or status["progress"]["unknown"]:
        raise SystemExit(f"The job did not go well: {status}")
    after = [cpu_seconds(process) for process in processes]
    count = status["progress"]["rollouts_done"] - status["progress"]["recorded_reused"]
    cpu_ms = tuple(1000 * (b - a) / count for a, b in zip(before, after, strict=True))
    return Cost(count, cpu_ms, count / seconds_of(status))


def job_document(task_app_url: str, rollouts: int, concurrent: int) -> dict[str, Any]:
    """Return a job on all 77 intents. No prompt helps this model, so only the baseline takes the final test."""
    section = dict(get_profile("walkthrough").document["prompt_learning"])
    test_size = rollouts // 5
    section["task_app_url"] = task_app_url
    section["mipro"] = {**section["mipro"], "max_concurrent": concurrent, "test_size": test_size}
    section["termination_config"] = {"budget": rollouts - test_size, "max_time_seconds": 3600}
    return {"prompt_learning": section}


def cpu_seconds(process: psutil.Process) -> float:
    """Return user and system time of one process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


# ---- the peer


def peer_cost(model_url: str, calls: int, question: dict[str, Any]) -> Cost:
    """Ask the model ``calls`` times with the openai SDK, one after another in this process."""
    client = openai.OpenAI(api_key=MODEL_KEY, base_url=model_url)
    for _ in range(WARM_UP):
        client.chat.completions.create(**question)
    cpu, wall = cpu_seconds(psutil.Process()), time.perf_counter()
    for _ in range(calls):
        client.chat.completions.create(**question)
    spent = cpu_seconds(psutil.Process()) - cpu
    client.close()
    return Cost(calls, (1000 * spent / calls,), calls / (time.perf_counter() - wall))


def peer_question(data: TaskData) -> dict[str, Any]:
    """Return the question of a rollout as the task app asks it: both messages, the tool with all labels."""
    labels = data.slice().labels
    text = data.slice().pool("test").rows[0].text
    question = {"messages": own_messages("tool_calls", text, labels), **answer_form("tool_calls", labels)}
    return {"model": MODEL, "temperature": 0.0, "max_completion_tokens": 64, **question}


# ---- the comparison


def compare(rollouts: int, concurrent: int, jobs: int) -> tuple[list[Cost], Cost]:
    """Measure our stack and then the peer against the same model; return what each job cost, lowest first."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mipro-walk-overhead-")))
        os.environ["MIPRO_WALK_HOME"] = str(folder / "home")
        model_url = stack.enter_context(instant_model())
        ours = Stack(folder, {"OPENAI_API_KEY": MODEL_KEY, "OPENAI_BASE_URL": model_url})
        stack.callback(ours.close)
        run_job(ours, WARM_UP, concurrent)
        costs = sorted((run_job(ours, rollouts, concurrent) for _ in range(jobs)), key=lambda cost: cost.total_ms)
        return costs, peer_cost(model_url, rollouts, peer_question(load_task_data(DataSource())))


def show(costs: list[Cost], peer: Cost) -> None:
    """Print the job in the middle beside the peer, the ratio and the spread."""
    ours = costs[len(costs) // 2]
    table = Table("", "n", "task app ms", "backend ms", "total CPU ms", "per second")
    parts = (f"{part:.2f}" for part in (*ours.cpu_ms, ours.total_ms))
    table.add_row("rollout", str(ours.count), *parts, f"{ours.per_second:.0f}")
    table.add_row("openai SDK call", str(peer.count), "", "", f"{peer.total_ms:.2f}", f"{peer.per_second:.0f}")
    console = Console()
    console.print(table)
    spread = f"{costs[0].total_ms:.1f} to {costs[-1].total_ms:.1f} ms over {len(costs)} jobs"
    verdict = "within" if ours.total_ms <= TARGET_MS else "ABOVE"
    console.print(f"A rollout takes {ours.total_ms / peer.total_ms:.1f} times the CPU of a plain call ({spread}).")
    console.print(f"That is {verdict} the target of {TARGET_MS:g} ms.")


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=500)
    parser.add_argument("--concurrent", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=3, help="how many to measure (default: %(default)s)")
    parser.add_argument("--serve-model", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_model:
        asyncio.run(serve_model())
    else:
        show(*compare(options.rollouts, options.concurrent, options.jobs))


if __name__ == "__main__":
    main()
