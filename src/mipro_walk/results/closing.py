"""The last events of a job: published clients read results from events alone. The completing one comes last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mipro_walk.core.result import RunResult
from mipro_walk.counting import counted
from mipro_walk.prompting import candidate_messages
from mipro_walk.types import Event, Usage


def closing_events(
    job_id: str, result: RunResult, documents: Mapping[str, Any], usage: Mapping[str, Usage]
) -> list[Event]:
    """Return the result events of the published API, in the order in which they must stand."""
    best = documents["best_prompt.json"]
    sections = [{"role": m["role"], "content": m["content"], "order": i} for i, m in enumerate(best["messages"])]
    prompt = {"id": f"{job_id}-best", "sections": sections}
    search = best["search_score"] or {"mean": None, "n": 0}
    test = best["score"]
    score = test[best["recommendation"]] if test else search["mean"]
    turns = "steps" if result.algorithm == "gepa" else "iterations"
    return [
        Event("prompt.learning.best.prompt", "Best prompt found", {"best_prompt": prompt, "best_score": score}),
        _top_prompt(sections, search["mean"], score),
        _final_results(result, prompt, score),
        _gepa_summary(result, usage) if result.algorithm == "gepa" else _budget_summary(result, usage),
        Event(
            "mipro.job.completed",
            f"Optimization complete. Best score: {'unknown' if score is None else f'{score:.3f}'} on "
            f"{counted(test['n'] if test else search['n'], 'test row' if test else 'val row')}; "
            f"{result.num_trials} {turns}, {result.rollouts} evaluations",
            {"best_score": score, "iterations": result.num_trials, "rollouts": result.rollouts},
        ),
        Event(
            f"prompt.learning.{result.algorithm}.complete", "Job complete", {"best_score": score, "best_prompt": prompt}
        ),
    ]


def _top_prompt(sections: list[dict[str, Any]], search_score: float | None, score: float | None) -> Event:
    data = {
        "rank": 1,
        "train_accuracy": search_score,
        "val_accuracy": score,
        "template": {"sections": sections},
        "full_text": "\n\n".join(f"[{section['role']}]\n{section['content']}" for section in sections),
    }
    return Event("prompt.learning.top.prompt.content", "Content of the best prompt", data)


def _final_results(result: RunResult, prompt: Mapping[str, Any], score: float | None) -> Event:
    attempted = [
        {
            "accuracy": found.mean,
            "prompt_length": len(str(candidate_messages(candidate))),
            "object": {"text_replacements": [{"new_text": candidate.instruction, "apply_to_role": "system"}]},
        }
        for candidate, found in result.scored.items()
    ]
    optimized = {
        "rank": 1,
        "score": {"accuracy": score},
        "payload_kind": "template",
        "object": {"data": {"sections": prompt["sections"]}},
    }
    data = {
        "attempted_candidates": attempted,
        "optimized_candidates": [optimized],
        "best_prompt": prompt,
        "best_score": score,
    }
    return Event("prompt.learning.final.results", f"{counted(len(attempted), 'candidate')} scored", data)


def _gepa_summary(result: RunResult, usage: Mapping[str, Usage]) -> Event:
    """Return what published clients read of a run of GEPA for their last table."""
    data = {
        "usd_tokens_rollouts": usage["policy"].cost_usd,
        "usd_tokens_mutation": usage["meta"].cost_usd,
        "rollouts_prompt_tokens": usage["policy"].prompt_tokens,
        "rollouts_completion_tokens": usage["policy"].completion_tokens,
        "finish_reason": result.stop_reason,
    }
    text = f"{result.rollouts} of {result.plan.budget} rollouts used for the search"
    return Event("prompt.learning.completed", text, data)


def _budget_summary(result: RunResult, usage: Mapping[str, Usage]) -> Event:
    data = {
        "policy_tokens": usage["policy"].prompt_tokens + usage["policy"].completion_tokens,
        "proposer_tokens": usage["meta"].prompt_tokens + usage["meta"].completion_tokens,
        "category_costs": {"rollout": usage["policy"].cost_usd, "proposal": usage["meta"].cost_usd},
    }
    return Event(
        "mipro.budget.summary", f"{result.rollouts} of {result.plan.budget} rollouts used for the search", data
    )
