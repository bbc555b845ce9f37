"""llama.cpp in this process: loading a model, choosing threads, one request at a time.

``LlamaEngine`` wraps ``xllamacpp`` and is the only importer of it. ``Worker`` owns an engine in a
thread of its own and serves requests in order of arrival, so that callers never wait inside llama.cpp
and the prefix cache (one slot, and what it held before) is used by the requests that follow.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mipro_walk.errors import ConfigError, PrerequisiteError

Body = dict[str, Any]

CONTEXT_TOKENS = 8192
QUEUE_LIMIT = 64
CACHE_MIB = 64
"""Memory for the beginnings of earlier prompts; SmolLM2-135M takes 23 kB for a token of them."""

_MAX_THREADS_TRIED = 4
_CALIBRATION_SECONDS = 3.0
_PROBE_WORDS = 30
_PROBE_TOKENS = 8
_COLLAPSE_FACTOR = 4
_COLLAPSE_ANSWERS = 3
_RECALIBRATION_PAUSE_SECONDS = 30.0

_log = logging.getLogger(__name__)


class RequestRefusedError(Exception):
    """The engine cannot answer this request as it stands; the same request would fail again."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class QueueFullError(Exception):
    """Too many requests wait already. ``retry_after`` is in seconds."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(f"{waiting} requests are waiting")
        self.waiting = waiting
        self.retry_after = retry_after


class ChatEngine(Protocol):
    """Answers one chat completion at a time; called from one thread only.

    Attributes:
        model: Name of the model that answers (the file's name).
        threads: CPU threads in use.
        tokens_per_second: Generated tokens per second, as measured last.
    """

    model: str
    threads: int
    tokens_per_second: float

    def complete(self, request: Body) -> Body:
        """Return an OpenAI chat completion with exact usage.

        Raises:
            RequestRefusedError: the request is at fault (grammar, schema, context length).
        """


@dataclass(frozen=True, slots=True)
class Speed:
    """What one probe measured: seconds for the whole probe, and generated tokens per second."""

    seconds: float
    tokens_per_second: float


class LlamaEngine:
    """A GGUF model served by llama.cpp on the CPU.

    Args:
        path: The model file.
        threads: CPU threads; None measures at start and chooses the fastest.

    Raises:
        PrerequisiteError: ``xllamacpp`` is not installed here.
        ConfigError: llama.cpp cannot load the file.
    """

    _server: Any
    _expected_speed: float
    _calibrated_at: float

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.model = path.name
        self._path = path
        self._fixed_threads = threads
        self._slow_answers = 0
        self._calibrate()

    def complete(self, request: Body) -> Body:
        answer = _ask(self._server, request)
        self._watch_speed(answer.pop("timings", {}))
        answer["model"] = self.model
        return answer

    def close(self) -> None:
        """Free the model's memory."""
        self._server = None

    def _calibrate(self) -> None:
        """Load the model with the fastest number of threads.

        More threads are not always faster: with other load on the cores they wait for each other, up to
        fifty times longer, and llama.cpp cannot be interrupted. So one thread is measured here, and
        more in a process that can be ended when it takes too long. Counts are tried upwards until one
        is no faster than the best.
        """
        self._server = None  # a second calibration must not hold two models in memory
        started = time.monotonic()
        chosen = self._fixed_threads or 1
        self._server, speed = _load_and_probe(self._path, chosen)
        allowance = 1.5 + 1.5 * (time.monotonic() - started)
        for threads in [] if self._fixed_threads else _more_thread_counts():
            if time.monotonic() - started > _CALIBRATION_SECONDS:
                break
            other = _probe_elsewhere(self._path, threads, allowance)
            if other is None or other.seconds >= speed.seconds:
                break
            chosen, speed = threads, other
        if chosen != (self._fixed_threads or 1):
            self._server = None
            self._server = _load(self._path, chosen)
        self.threads = chosen
        self.tokens_per_second = self._expected_speed = speed.tokens_per_second
        self._calibrated_at = time.monotonic()

    def _watch_speed(self, timings: Body) -> None:
        """Measure again when answers became much slower than at the last calibration."""
        if timings.get("predicted_n", 0) < 3 or not timings.get("predicted_ms"):
            return
        speed = 1000 * timings["predicted_n"] / timings["predicted_ms"]
        self.tokens_per_second += 0.2 * (speed - self.tokens_per_second)
        slow = speed < self._expected_speed / _COLLAPSE_FACTOR
        self._slow_answers = self._slow_answers + 1 if slow else 0
        rested = time.monotonic() - self._calibrated_at > _RECALIBRATION_PAUSE_SECONDS
        if self._slow_answers >= _COLLAPSE_ANSWERS and rested and not self._fixed_threads:
            before = self.threads
            self._slow_answers = 0
            self._calibrate()
            _log.warning("The model became slow; threads measured again: %d -> %d.", before, self.threads)


class Worker:
    """Serves requests one at a time, first come first served, in a thread that owns the engine."""

    def __init__(self, engine: ChatEngine, queue_limit: int = QUEUE_LIMIT) -> None:
        self.engine = engine
        self._queue_limit = queue_limit
        self._queue: deque[tuple[Body, Future[Body]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._seconds_per_answer = 1.0
        # A daemon: llama.cpp cannot be interrupted, and its answer must not hold up the exit.
        self._thread = threading.Thread(target=self._serve, name="llama", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Requests that wait (the one being answered is not among them)."""
        with self._changed:
            return self._count_waiting()

    def submit(self, request: Body) -> Future[Body]:
        """Queue a request. Cancelling the future while it waits takes it out of the queue.

        Raises:
            QueueFullError: the queue is at its limit.
        """
        future: Future[Body] = Future()
        with self._changed:
            waiting = self._count_waiting()
            if waiting >= self._queue_limit:
                raise QueueFullError(waiting, max(1, round(waiting * self._seconds_per_answer)))
            self._queue.append((request, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Take no more work and cancel what waits. An answer under way is not waited for."""
        with self._changed:
            self._closed = True
            for _request, future in self._queue:
                future.cancel()
            self._queue.clear()
            self._changed.notify()

    def _count_waiting(self) -> int:
        while self._queue and self._queue[0][1].cancelled():
            self._queue.popleft()
        return sum(not future.cancelled() for _request, future in self._queue)

    def _next(self) -> tuple[Body, Future[Body]] | None:
        with self._changed:
            while True:
                if self._closed:
                    return None
                if self._queue:
                    request, future = self._queue.popleft()
                    if future.set_running_or_notify_cancel():
                        return request, future
                    continue
                self._changed.wait()

    def _serve(self) -> None:
        while (work := self._next()) is not None:
            request, future = work
            started = time.monotonic()
            try:
                future.set_result(self.engine.complete(request))
            except Exception as exc:  # the caller gets it; this thread must live on
                future.set_exception(exc)
            self._seconds_per_answer += 0.2 * (time.monotonic() - started - self._seconds_per_answer)


def _load(path: Path, threads: int) -> Any:
    xllamacpp = _import_xllamacpp()
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {path.name}
    # llama.cpp itself caps this at the model's training context.
    params.n_ctx = CONTEXT_TOKENS
    # More slots only lose on few cores, and one slot keeps the shared prefix cached.
    params.n_parallel = 1
    # What the slot held is kept for prompts that begin like it: policy and judge take turns, and two prompts in a test.
    params.cache_ram_mib = CACHE_MIB
    params.n_gpu_layers = 0
    params.verbosity = 0
    params.warmup = False
    # Flash attention's rounding depends on how much of the prompt was cached: at temperature 0 it changed
    # 11 of 12 long texts between a cold and a warm cache, without it 1 of 12, at about equal speed.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    # xllamacpp opens a loopback listener of its own; this key, known to nobody, closes it.
    params.api_keys = [secrets.token_hex(32)]
    params.ui = False
    params.endpoint_slots = False
    params.n_threads_http = 1
    try:
        return xllamacpp.Server(params)
    except (RuntimeError, ValueError) as exc:
        raise ConfigError(
            f"llama.cpp cannot load {str(path)!r}: {exc}",
            fix="Pass a complete GGUF file of a chat model (--model-path).",
        ) from exc


def _import_xllamacpp() -> Any:
    try:
        import xllamacpp
    except ImportError as exc:
        raise PrerequisiteError(
            f"The local model needs the package xllamacpp, which cannot be imported here ({exc}).",
            fix="Install xllamacpp (prebuilt for x86-64 and arm64), or use a hosted or Ollama endpoint.",
        ) from exc
    return xllamacpp


def _ask(server: Any, request: Body) -> Body:
    try:
        answer: Body = server.handle_chat_completions(request)
    except ValueError as exc:
        # How xllamacpp reports a schema or template it cannot turn into a grammar.
        raise RequestRefusedError(str(exc)) from exc
    error = answer.get("error")
    if error is None:
        return answer
    if error.get("type") == "exceed_context_size_error":
        raise RequestRefusedError(
            f"The prompt has {error.get('n_prompt_tokens')} tokens; this model's context holds "
            f"{error.get('n_ctx')}. Use fewer or shorter demonstrations.",
            code="context_length_exceeded",
        )
    if error.get("code") == 400:
        raise RequestRefusedError(str(error.get("message")))
    raise RuntimeError(f"llama.cpp failed: {error.get('message')}")


def _more_thread_counts() -> list[int]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return list(range(2, min(_MAX_THREADS_TRIED, cores) + 1))


def _load_and_probe(path: Path, threads: int) -> tuple[Any, Speed]:
    """Load the model, time a short prompt and a short answer twice; return it and the slower time."""
    server = _load(path, threads)
    _ask(server, _probe_request("warm", words=1, tokens=1))  # pages the weights in
    return server, max((_time(server, name) for name in ("first", "second")), key=lambda one: one.seconds)


def _probe_elsewhere(path: Path, threads: int, timeout: float) -> Speed | None:
    """Measure in a process of its own; None if it did not end within ``timeout`` seconds, or failed."""
    command = [sys.executable, "-m", __name__, str(path), str(threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=True)
        seconds, tokens_per_second = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError):
        return None
    return Speed(seconds, tokens_per_second)


def _time(server: Any, name: str) -> Speed:
    started = time.monotonic()
    answer = _ask(server, _probe_request(name, _PROBE_WORDS, _PROBE_TOKENS))
    timings = answer["timings"]
    return Speed(time.monotonic() - started, 1000 * timings["predicted_n"] / timings["predicted_ms"])


def _probe_request(name: str, words: int, tokens: int) -> Body:
    # The name comes first so that the prefix cache cannot answer the second probe.
    text = f"{name} " + "word " * words
    messages = [{"role": "system", "content": text}, {"role": "user", "content": "go on"}]
    return {"messages": messages, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}


def _measure(path: str, threads: str) -> None:
    """What the measuring process does: print seconds and tokens per second as JSON, and end at once."""
    _server, speed = _load_and_probe(Path(path), int(threads))
    print(json.dumps([speed.seconds, speed.tokens_per_second]), flush=True)
    os._exit(0)


if __name__ == "__main__":
    _measure(*sys.argv[1:])
