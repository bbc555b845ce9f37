"""What a run will take, said before it starts: rollouts by phase, tokens, money, time.

Figures, not promises: tokens come from the lengths of the real rows (four characters are about one token), prices from
the price list, times from what one call usually takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipro_walk.config import RunConfig
from mipro_walk.core.plan import Plan
from mipro_walk.types import Example, Task, Usage

CHARS_PER_TOKEN = 4.0
CHAT_OVERHEAD_TOKENS = 12
ANSWER_TOKENS = 12
PROPOSAL_TOKENS = (1800, 400)
"""Prompt and completion tokens of one request for instructions."""
LOCAL_SECONDS = (0.25, 1.2)
HOSTED_SECONDS = (0.5, 1.5)
"""Seconds of one rollout, low and high."""
SPREAD = (0.7, 1.5)
"""Low and high estimate of money, as factors of the expected one: early stops below, longer prompts above."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take.

    Attributes:
        phases: name and rollouts, at most.
        proposals: calls of the meta-model.
        prompt_tokens: of all calls together, expected.
        cost_usd: low, expected, high; ``None`` if a price is not known.
        seconds: low, high.
    """

    phases: tuple[tuple[str, int], ...]
    proposals: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: tuple[float, float, float] | None
    seconds: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the estimate as plain data."""
        low_high: Mapping[str, float] | None = None
        if self.cost_usd is not None:
            low_high = dict(zip(("low", "expected", "high"), self.cost_usd, strict=True))
        return {
            "phases": dict(self.phases),
            "rollouts": sum(count for _, count in self.phases),
            "proposals": self.proposals,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_usd": low_high,
            "seconds": {"low": self.seconds[0], "high": self.seconds[1]},
        }


def estimate(config: RunConfig, task: Task, plan: Plan) -> Estimate:
    """Return what a run of ``config`` on ``task`` by ``plan`` will take."""
    phases = (
        ("Bootstrap", plan.bootstrap),
        ("Baseline", plan.baseline),
        ("Search", plan.search),
        ("Finalists", plan.finalists),
        ("Final test", 2 * plan.test_rows),
        ("Ablation", 2 * plan.ablation_rows),
    )
    rollouts = sum(count for _, count in phases)
    settings = config.settings
    asks_meta_model = settings.optimize_instructions and config.proposer != "built-in"
    proposals = settings.num_bootstrap_seeds if asks_meta_model else 0
    policy = Usage(rollouts, round(rollouts * _prompt_tokens(config, task)), rollouts * ANSWER_TOKENS)
    meta = Usage(proposals, proposals * PROPOSAL_TOKENS[0], proposals * PROPOSAL_TOKENS[1])
    expected = _cost(config, policy, meta)
    return Estimate(
        phases,
        proposals,
        policy.prompt_tokens + meta.prompt_tokens,
        policy.completion_tokens + meta.completion_tokens,
        None if expected is None else (expected * SPREAD[0], expected, expected * SPREAD[1]),
        _seconds(config, rollouts),
    )


def time_in_words(seconds: tuple[float, float]) -> str:
    """Return ``2 to 5 minutes`` or ``20 to 50 s``."""
    low, high = seconds
    if high < 90:
        return f"{max(1, round(low))} to {max(2, round(high))} s"
    return f"{max(1, round(low / 60))} to {max(2, round(high / 60))} minutes"


def cost_in_words(cost: tuple[float, float, float] | None) -> str:
    """Return the expected cost with its range, or that it is unknown."""
    if cost is None:
        return "unknown: no price is known for this model; --max-cost-usd cannot help, budget does"
    if cost[2] == 0:
        return "nothing: the model runs on this machine"
    return f"about ${cost[1]:.3f} (${cost[0]:.3f} to ${cost[2]:.3f})"


def _prompt_tokens(config: RunConfig, task: Task) -> float:
    """Mean tokens of one rollout. About half of the candidates carry the full demonstration set."""
    fixed = len(task.instruction) + sum(len(label) + 4 for label in task.labels)
    demos = config.settings.num_demos * _mean_length(task.train) * 0.75
    return (fixed + demos + _mean_length(task.val)) / CHARS_PER_TOKEN + CHAT_OVERHEAD_TOKENS


def _mean_length(rows: Sequence[Example]) -> float:
    return sum(len(row.query) + len(row.label) for row in rows) / len(rows) if rows else 0.0


def _cost(config: RunConfig, policy: Usage, meta: Usage) -> float | None:
    costs = (
        _price(config.policy.provider, config.policy.model, policy, config.policy.base_url),
        _price(config.meta_model_provider, config.meta_model, meta, config.policy.base_url),
    )
    return None if None in costs else sum(cost or 0.0 for cost in costs)


def _price(provider: str, model: str, usage: Usage, base_url: str | None) -> float | None:
    """Return the price of all calls: price lists have steps by the size of one call, not of their sum."""
    if usage.calls == 0:
        return 0.0
    from mipro_walk.clients.pricing import TokenUsage, price

    one = TokenUsage(usage.prompt_tokens // usage.calls, usage.completion_tokens // usage.calls)
    each = price(provider, model, one, base_url)
    return None if each is None else each * usage.calls


def _seconds(config: RunConfig, rollouts: int) -> tuple[float, float]:
    if config.policy.provider == "local":
        return rollouts * LOCAL_SECONDS[0], rollouts * LOCAL_SECONDS[1]
    each = rollouts / max(1, config.max_concurrent)
    return each * HOSTED_SECONDS[0], each * HOSTED_SECONDS[1]
