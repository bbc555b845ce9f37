"""What came out, in words."""

from __future__ import annotations

from mipro_walk.core.result import OptimizationResult
from mipro_walk.results.documents import outcome_of
from mipro_walk.results.words import recommendation_in_words, verdict_in_words


def summary(result: OptimizationResult) -> str:
    """Return the verdict of the final test, what to use, and the recommended prompt of each stage, as text."""
    outcome = outcome_of(result)
    lines = [verdict_in_words(outcome), recommendation_in_words(outcome)]
    for stage, prompt in zip(result.space.stages, result.recommended.prompts, strict=True):
        name = f"{stage.name}: " if stage.name else ""
        lines.append(f"  {name}{prompt.instruction} ({len(prompt.demos)} demonstrations)")
    return "\n".join(lines)
