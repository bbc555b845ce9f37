"""One job of ours against the simulated endpoint, through the real stack, in the figures that a peer's run has."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peer_endpoint import META_MODEL, POLICY_MODEL, Endpoint, Landscape, Prompt
from stack import Stack, seconds_of

from mipro_walk.config import get_profile

KEY = "sk-benchmark-0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Size:
    """How much one run of ours may do. The policy calls are at most ``budget + 2 * test_size``."""

    budget: int
    test_size: int
    iterations: int
    concurrent: int
    train: int
    val: int
    seed: int = 0


@dataclass(frozen=True)
class Finished:
    """How a run of ours or of the peer ended.

    Attributes:
        ended: in a word: done, paused, failed, died, stopped.
        seconds: wall time of the optimization, without starting the programs.
        accuracy: true accuracy of the returned prompt; ``None`` without one.
        prompt: the returned prompt, comparable between runs.
        spoiled: rows that count with a score though their call failed.
        lost: rows left out because their call failed for good.
        note: why it did not end well.
    """

    ended: str
    seconds: float
    accuracy: float | None = None
    prompt: Prompt | None = None
    spoiled: int = 0
    lost: int = 0
    note: str = ""


def run_ours(endpoint: Endpoint, landscape: Landscape, size: Size, limit_seconds: float) -> Finished:
    """Start the stack, run one job, stop the stack."""
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="mipro-walk-peer-")))
        os.environ["MIPRO_WALK_HOME"] = str(folder / "home")
        keys = {"MIPRO_WALK_BASE_URL": endpoint.base_url, "MIPRO_WALK_API_KEY": KEY}
        stack = Stack(folder, keys)
        cleanup.callback(stack.close)
        status = stack.run_job(job_document(stack.task_app_url, size), limit_seconds)
        if status is None:
            return Finished("stopped", limit_seconds)
        if status["status"] != "succeeded":
            return Finished(status["status"], limit_seconds, note=str(status.get("error")))
        winner = stack.client.results(status["job_id"])["best_prompt.json"]["winner"]
    prompt = Prompt(winner["instruction"], tuple(demo["query"] for demo in winner["demonstrations"]))
    unknown = status["progress"]["unknown"]
    return Finished("done", seconds_of(status), landscape.accuracy(prompt), prompt, lost=unknown)


def job_document(task_app_url: str, size: Size) -> dict[str, Any]:
    """Return a job on all 77 intents with the simulated models."""
    section = dict(get_profile("walkthrough").document["prompt_learning"])
    section["task_app_url"] = task_app_url
    section["policy"] = {**section["policy"], "provider": "custom", "model": POLICY_MODEL}
    section["mipro"] = {
        **section["mipro"],
        "meta_model": META_MODEL,
        "meta_model_provider": "custom",
        "max_concurrent": size.concurrent,
        "num_iterations": size.iterations,
        "num_demos": 4,
        "rng_seed": size.seed,
        "test_size": size.test_size,
        "bootstrap_train_seeds": list(range(size.train)),
        "online_pool": list(range(size.val)),
        "test_pool": list(range(size.test_size)),
    }
    # A search that stops at a score it is content with would make fewer calls than the peer.
    section["termination_config"] = {"budget": size.budget, "max_time_seconds": 36_000, "target_score": 1.0}
    return {"prompt_learning": section}
