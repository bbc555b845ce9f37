"""One run of DSPy's MIPROv2 against the simulated endpoint, in the same figures as a run of ours."""

from __future__ import annotations

from our_run import Finished
from peer import peer_task, run_peer, sample_slice
from peer_endpoint import Endpoint, Landscape, Prompt


def run_dspy(
    python: str, endpoint: Endpoint, landscape: Landscape, train: int, val: int, threads: int, limit_seconds: float
) -> Finished:
    """Run MIPROv2 light in a process of its own, its cache on and empty, as a user's first run is."""
    task = peer_task(sample_slice(), train, val, mode="light", threads=threads, seed=9, base_url=endpoint.base_url)
    report = run_peer(python, task, limit_seconds)
    if report is None:
        return Finished("stopped", limit_seconds)
    if "error" in report:
        return Finished("died", limit_seconds, note=report["error"])
    prompt = Prompt(report["instruction"], tuple(report["demos"]))
    spoiled = sum(e["rows"] if e["dropped"] else e["errors"] for e in report["evaluations"])
    return Finished("done", report["seconds"], landscape.accuracy(prompt), prompt, spoiled=spoiled)
