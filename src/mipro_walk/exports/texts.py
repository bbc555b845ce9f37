"""``text`` and ``markdown``: the prompt for people to read and to copy."""

from __future__ import annotations

import re

from mipro_walk.exports.source import ExportSource
from mipro_walk.prompting import candidate_messages


def plain_text(source: ExportSource) -> str:
    """Return the prompt as turns, each below its role."""
    return "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in candidate_messages(source.candidate)) + "\n"


def markdown(source: ExportSource) -> str:
    """Return instruction, demonstrations and what was measured, all texts from outside in fenced blocks."""
    candidate, best = source.candidate, source.best
    parts = [f"# The {source.name} prompt", _measured(source), "## Instruction", _fenced(candidate.instruction)]
    parts.append(f"## Demonstrations ({len(candidate.demos)})")
    parts += [_fenced(f"{demo.query}\n=> {demo.label}") for demo in candidate.demos]
    model = best.get("model") or {}
    asked = "\n".join(f"{name}: {value}" for name, value in model.items() if value is not None)
    return "\n\n".join([*parts, "## Measured with", _fenced(asked)]) + "\n"


def _measured(source: ExportSource) -> str:
    score = source.best.get("score")
    if not score or not score["n"]:
        return "Not tested on unseen rows."
    mine = score[source.name]
    return (
        f"Score {mine:.3f} on {score['n']} unseen test rows (baseline {score['baseline']:.3f}, winner "
        f"{score['winner']:.3f}; difference {score['difference']:+.3f}, 95 % interval {score['low']:+.3f} to "
        f"{score['high']:+.3f}: {score['verdict']})."
    )


def _fenced(text: str) -> str:
    """Return a block whose fence is longer than any run of backticks in the text."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"
