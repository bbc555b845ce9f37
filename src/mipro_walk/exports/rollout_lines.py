"""``rollouts``: every recorded rollout of a job, one JSON object a line, in a fixed order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mipro_walk.exports.recorded import candidates, rollouts
from mipro_walk.exports.source import ExportSource, clean
from mipro_walk.types import Usage


def rollout_lines(source: ExportSource) -> str:
    """Return the lines: by split, candidate and row; last those of which the row or the candidate is not known."""
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in _lines(source))


def _lines(source: ExportSource) -> Iterator[dict[str, Any]]:
    recorded = source.ledger()
    instruction, *demo_set = source.metadata()["winner_key"]
    known = candidates(source.history(), (instruction, *(demo_set or [0])), recorded)
    told = set()
    for key, rollout, row, identity in rollouts(recorded, known):
        told.add(identity)
        yield {
            "split": rollout.split,
            "seed": rollout.seed,
            "instruction": key[0],
            "demo_set": key[1],
            "query": clean(row.query),
            "label": clean(row.label),
            **_outcome(recorded.outcomes[identity]),
            **_usage(recorded.usage.get(rollout.tag)),
        }
    nothing = dict.fromkeys(("split", "seed", "instruction", "demo_set", "query", "label"))
    for identity in sorted(set(recorded.outcomes) - told):
        yield {**nothing, **_outcome(recorded.outcomes[identity]), **_usage(None)}


def _outcome(value: Any) -> dict[str, Any]:
    predicted = value["predicted"]
    return {
        "predicted": None if predicted is None else clean(predicted),
        "score": value["score"],
        "reason": clean(value["reason"]),
    }


def _usage(used: Usage | None) -> dict[str, Any]:
    """Return what its calls took, retries included; ``None`` where calls are not filed under their rollout."""
    if used is None:
        return dict.fromkeys(("calls", "prompt_tokens", "completion_tokens", "cost_usd"))
    return {
        "calls": used.calls,
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "cost_usd": used.cost_usd,
    }
