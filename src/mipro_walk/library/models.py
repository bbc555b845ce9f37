"""The small local model as a policy: free, without a key and without a server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from mipro_walk import paths
from mipro_walk.local_model import custom, pull
from mipro_walk.local_model.engine import LlamaEngine, Worker
from mipro_walk.local_model.enum_answers import grammar, most_tokens
from mipro_walk.types import Message

MAX_WAITING = 1024


class LocalModel:
    """A small language model in this process (SmolLM2-135M-Instruct; 100 MB are fetched at the first use).

    Call it with chat messages, or let it choose one of given answers with :meth:`choosing`. It answers one question at
    a time, always with its likeliest words, and is for trying things out: a real task wants a larger model.

        with LocalModel() as model:
            result = optimize(task, model.choosing(task.labels))

    Args:
        max_tokens: longest answer.
        path: a GGUF file of your own.
        threads: CPU threads; ``None`` measures and takes the fastest.

    Raises:
        PrerequisiteError: the weights cannot be fetched, or llama.cpp is not installed here.
        ConfigError: ``path`` is no model that can be loaded.
    """

    def __init__(self, *, max_tokens: int = 64, path: str | Path | None = None, threads: int | None = None) -> None:
        self.max_tokens = max_tokens
        file = pull(paths.models_folder(), _say) if path is None else custom(Path(path))
        self._engine = LlamaEngine(file, threads)
        self._worker = Worker(self._engine, MAX_WAITING)

    def __call__(self, messages: list[Message]) -> str:
        """Return the answer's text."""
        return self._ask({"messages": messages, "max_tokens": self.max_tokens})

    def choosing(self, answers: Sequence[str]) -> Callable[[list[Message]], str]:
        """Return a policy that answers with one of ``answers`` and nothing else."""
        form = {"max_tokens": most_tokens(answers), "grammar": grammar(answers)}
        return lambda messages: self._ask({"messages": messages, **form})

    def close(self) -> None:
        """Free the model's memory."""
        self._worker.close()
        self._engine.close()

    def __enter__(self) -> LocalModel:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _ask(self, request: dict[str, Any]) -> str:
        completion = self._worker.submit({**request, "temperature": 0.0, "seed": 0}).result()
        return completion["choices"][0]["message"]["content"] or ""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
