"""How far a job is, in words: from its status document, for every screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from mipro_walk.cli.visible import visible


def rollouts_in_words(progress: Mapping[str, Any]) -> str:
    """Return ``120/300 rollouts``, with the unknown and the reused ones if there are any."""
    text = f"{progress.get('rollouts_done') or 0}/{progress.get('rollouts_planned') or '?'} rollouts"
    if progress.get("recorded_reused"):
        text += f", {progress['recorded_reused']} reused"
    return text + (f", {progress['unknown']} unknown" if progress.get("unknown") else "")


def phase_in_words(status: Mapping[str, Any]) -> str:
    """Return such as ``Phase 2 of 4: search, iteration 4/10``; empty before the first phase."""
    progress = status.get("progress") or {}
    if not progress.get("phase_number"):
        return ""
    text = f"Phase {progress['phase_number']} of {progress.get('phases', 4)}: {visible(progress.get('phase', ''))}"
    if progress.get("phase") == "search":
        text += f", iteration {progress.get('iteration', 0)}/{progress.get('num_iterations', '?')}"
    if progress.get("phase") == "evolution" and progress.get("iteration"):
        text += f", step {progress['iteration']}"
    return text


def best_in_words(status: Mapping[str, Any]) -> str:
    """Return ``0.56 (n=24)``; empty if nothing is known."""
    progress = status.get("progress") or {}
    if progress.get("best_score") is None:
        return ""
    return f"{progress['best_score']:.2f} (n={progress.get('best_n', 0)})"


def duration(seconds: float) -> str:
    """Return ``2:05`` or ``1:02:05``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def time_in_words(progress: Mapping[str, Any], drift: float = 0.0) -> str:
    """Return the time taken and, if it can be told, about how much is left; ``drift`` is the status's age."""
    text = duration((progress.get("elapsed_seconds") or 0.0) + drift)
    eta = progress.get("eta_seconds")
    return text if eta is None else f"{text}, about {duration(max(0.0, eta - drift))} left"


def cost_in_words(usage: Mapping[str, Any], models: Mapping[str, Any] | None = None) -> str:
    """Return the cost of all roles: ``$0.0123``, ``$0.00`` when nothing was charged, or ``unknown``."""
    costs = [(part or {}).get("cost_usd") for part in usage.values() if (part or {}).get("calls")]
    if any(cost is None for cost in costs):
        return "cost unknown"
    total = sum(float(cost) for cost in costs if cost is not None)
    if total == 0:
        providers = {str((model or {}).get("provider")) for model in (models or {}).values()}
        return "$0.00 (local model)" if providers == {"local"} else "$0.00"
    return f"${total:.4f}" if total < 1 else f"${total:.2f}"


def usage_in_words(status: Mapping[str, Any]) -> str:
    """Return calls, tokens and cost so far."""
    usage = (status.get("progress") or {}).get("usage") or {}
    calls = sum(int((part or {}).get("calls") or 0) for part in usage.values())
    prompt = sum(int((part or {}).get("prompt_tokens") or 0) for part in usage.values())
    completion = sum(int((part or {}).get("completion_tokens") or 0) for part in usage.values())
    return f"{calls:,} model calls, {prompt:,} + {completion:,} tokens (in + out), {cost_in_words(usage)}"


def heartbeat(status: Mapping[str, Any]) -> str:
    """Return the line that says that the job lives."""
    progress = status.get("progress") or {}
    where = phase_in_words(status) or f"Job is {status.get('status', 'starting')}"
    return f"... {where}; {rollouts_in_words(progress)}; {time_in_words(progress)}"


def score_with_n(score: float | None, n: int | None) -> str:
    """Return ``0.56 (n=8)``, or ``unknown``."""
    return "unknown" if score is None else f"{score:.2f} (n={n})"


def summary(status: Mapping[str, Any], console: Console) -> Text:
    """Return what stays on the screen when the watching ends."""
    progress = status.get("progress") or {}
    state = str(status.get("status"))
    words = {"succeeded": "OK", "completed": "OK", "failed": "FAIL", "paused": "PAUSED"}
    style = {"succeeded": "bold green", "completed": "bold green", "failed": "bold red"}.get(state, "bold yellow")
    text = Text(overflow="fold")
    text.append(f"{words.get(state, state.upper())}  ", style)
    text.append(f"Job {visible(status.get('job_id', '?'), console.encoding)} {visible(state, console.encoding)}")
    if status.get("stop_reason"):
        text.append(f" ({visible(status['stop_reason'], console.encoding)})")
    if progress.get("rollouts_planned"):
        text.append(f"\n  {rollouts_in_words(progress)} in {time_in_words({**progress, 'eta_seconds': None})}")
    best = best_in_words(status)
    if best:
        text.append(f"\n  best in the search: {best} on val rows")
    text.append(f"\n  {usage_in_words(status)}")
    return text
