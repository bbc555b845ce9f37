"""Runs DSPy beside us: in its own interpreter, on the same rows, with a time limit."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from task_apps.banking77.data import TaskSlice
from task_apps.banking77.prompts import BASELINE_INSTRUCTION
from task_apps.banking77.sources import DataSource, load_task_data

PROGRAM = Path(__file__).with_name("dspy_program.py")
CHECK_SECONDS = 120.0


def add_peer_option(parser: argparse.ArgumentParser) -> None:
    """Offer ``--peer-python``."""
    text = "an interpreter that has dspy[optuna] (default: the running one)"
    parser.add_argument("--peer-python", default=sys.executable, metavar="PATH", help=text)


def require_peer(python: str) -> None:
    """End the program with a message unless ``python`` has DSPy and Optuna."""
    try:
        found = subprocess.run([python, "-c", "import dspy, optuna"], capture_output=True, timeout=CHECK_SECONDS)
    except OSError as exc:
        raise SystemExit(f"{python} cannot be started: {exc.strerror}.") from exc
    if found.returncode:
        raise SystemExit(
            f"{python} has no DSPy. Install it into an environment of its own and name that:\n"
            "  python -m venv dspy-venv && dspy-venv/bin/pip install 'dspy[optuna]'\n"
            f"  python {sys.argv[0]} --peer-python dspy-venv/bin/python"
        )


def sample_slice() -> TaskSlice:
    """Return the shipped sample with all its intents."""
    return load_task_data(DataSource()).slice()


def peer_task(task_slice: TaskSlice, train: int, val: int, val_split: str = "val", **more: Any) -> dict[str, Any]:
    """Return a task for ``dspy_program.py``: the first rows of the pools; ``more`` as that file's docstring says."""
    pools = {"train": task_slice.pool("train").rows[:train], "val": task_slice.pool(val_split).rows[:val]}
    rows = {name: [[row.text, row.label] for row in pool] for name, pool in pools.items()}
    return {**rows, "labels": list(task_slice.labels), "instruction": BASELINE_INSTRUCTION, **more}


def run_peer(python: str, task: Mapping[str, Any], limit_seconds: float) -> dict[str, Any] | None:
    """Run MIPROv2 once; return its report, ``{"error": ...}`` if it died, ``None`` if time ran out."""
    with tempfile.TemporaryDirectory(prefix="dspy-cache-") as cache:
        env = {**os.environ, "DSPY_CACHEDIR": cache, "PYTHONWARNINGS": "ignore"}
        command = [python, str(PROGRAM)]
        try:
            ended = subprocess.run(
                command, input=json.dumps(task), env=env, capture_output=True, text=True, timeout=limit_seconds
            )
        except subprocess.TimeoutExpired:
            return None
    if ended.returncode:
        return {"error": (ended.stderr.strip().splitlines() or ["no message"])[-1][:300]}
    return dict(json.loads(ended.stdout.splitlines()[-1]))
