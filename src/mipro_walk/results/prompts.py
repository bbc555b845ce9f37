"""Reading a saved prompt: ``best_prompt.json`` as a run wrote it, or as somebody changed it since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mipro_walk.errors import ConfigError, PrerequisiteError
from mipro_walk.results.names import BEST_PROMPT, results_in
from mipro_walk.types import Candidate, Demonstration

MAX_BYTES = 50_000_000
MAX_CHARS = 100_000
FIX = "Name a best_prompt.json, or the folder that holds one."


def read_prompt(path: Path) -> Candidate:
    """Return the recommended prompt in a file, or in the ``best_prompt.json`` of a folder or a project.

    What counts is ``instruction.content`` and ``demonstrations``.

    Raises:
        ConfigError: it is no such file.
        PrerequisiteError: it cannot be read.
    """
    file = results_in(path) / BEST_PROMPT if path.is_dir() else path
    document = _read(file)
    instruction = document.get("instruction")
    text = instruction.get("content") if isinstance(instruction, dict) else None
    demos = document.get("demonstrations")
    if not isinstance(text, str) or not 0 < len(text) <= MAX_CHARS or not isinstance(demos, list):
        raise ConfigError(f"{file} holds no instruction.content or no demonstrations.", FIX)
    return Candidate(text, tuple(_demo(demo, index, file) for index, demo in enumerate(demos)))


def _demo(demo: Any, index: int, file: Path) -> Demonstration:
    query, label = (demo.get("query"), demo.get("label")) if isinstance(demo, dict) else (None, None)
    if not isinstance(query, str) or not isinstance(label, str) or len(query) + len(label) > MAX_CHARS:
        raise ConfigError(f"{file}: demonstrations[{index}] has no query and label.", FIX)
    return Demonstration(query, label)


def _read(file: Path) -> dict[str, Any]:
    try:
        if not file.is_file():
            raise ConfigError(f"There is no prompt at {file}.", FIX)
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{file} is larger than {MAX_BYTES // 1_000_000} MB.", FIX)
        document = json.loads(file.read_bytes())
    except OSError as exc:
        raise PrerequisiteError(f"{file} cannot be read: {exc.strerror or exc}.", "Check who may read it.") from exc
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{file} is not JSON.", FIX) from exc
    if not isinstance(document, dict) or document.get("kind") != "mipro_walk.best_prompt":
        raise ConfigError(f"{file} is not a best_prompt.json of this program.", FIX)
    if document.get("schema_version") != 1:
        raise ConfigError(f"{file} was written by another version of this program.", "Use that version.")
    return document
