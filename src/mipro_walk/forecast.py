"""What a run will take, said before it starts: calls, tokens, money and time of each phase.

Figures, not promises. Tokens come from the prompts that will be sent, made of the real rows; prices from the price
list. Three cases: *low*, the target is reached in the first rung and the winner has no demonstrations; *expected*,
every planned call is made with prompts of mean length; *high*, every planned call with the longest prompts, the
longest answers allowed and every refused proposal asked for again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mipro_walk.clients.pricing import TokenUsage, price, price_at
from mipro_walk.config import ModelConfig, RunConfig
from mipro_walk.core.bootstrap import Evidence, build_demo_sets
from mipro_walk.core.gepa_search.plan import GepaPlan
from mipro_walk.core.gepa_search.reflection import META_MODEL_TURN
from mipro_walk.core.plan import Plan, SearchPlan
from mipro_walk.core.session import MAX_REASKS
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.prompting import candidate_messages
from mipro_walk.types import Candidate, Task

CHARS_PER_TOKEN = 4.0
TURN_TOKENS = 5
"""What a chat template adds to each message."""
ANSWER_TOKENS = 12
PROPOSAL_CHARS = 5_000
"""A request for instructions beside the task's own labels and rows: the order, examples of both kinds, the summary."""
PROPOSAL_ANSWER_TOKENS = 120
LONG_PROPOSAL_ANSWER_TOKENS = 500
GEPA_PROPOSAL_CHARS, GEPA_SAMPLE_CHARS = 1_500, 150
"""GEPA's request for an instruction without its rows, and what a row adds beside its query."""
GEPA_ANSWER_TOKENS = (250, 1_000)
"""An instruction that GEPA asks for: usual and longest."""
JUDGE_PROMPT_TOKENS, JUDGE_ANSWER_TOKENS = 600, 16
"""A request to the judge beside the answer it rates: order, rubric, question, reference."""
LOCAL_SECONDS = (0.25, 1.2)
HOSTED_SECONDS = (0.5, 1.5)
"""Seconds of one rollout, low and high."""
LOCAL_PROPOSAL_SECONDS = (3.0, 12.0)
HOSTED_PROPOSAL_SECONDS = (1.0, 5.0)

Range = tuple[float, float, float]
"""Low, expected, high."""


@dataclass(frozen=True, slots=True)
class PhaseForecast:
    """One phase. Calls and tokens are expected figures; ``cost_usd`` is ``None`` if a price is not known.

    Attributes:
        calls: rollouts, each a call of the policy model.
        proposals: calls of the meta-model that ask for instructions.
        judgements: calls of the judge, one for each rollout of a judged task; second ratings come on top.
        seconds: low, high.
    """

    name: str
    calls: int
    proposals: int
    judgements: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Range | None
    seconds: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run will take, phase by phase.

    Attributes:
        call_usd: what one call of the policy model costs at most; ``None`` if its price is not known.
        round_usd: what one round of proposals costs at most; ``None`` likewise.
    """

    phases: tuple[PhaseForecast, ...]
    call_usd: float | None
    round_usd: float | None

    @property
    def calls(self) -> int:
        """Rollouts of all phases."""
        return sum(phase.calls for phase in self.phases)

    @property
    def proposals(self) -> int:
        """Calls of the meta-model in all phases."""
        return sum(phase.proposals for phase in self.phases)

    @property
    def judgements(self) -> int:
        """Calls of the judge in all phases."""
        return sum(phase.judgements for phase in self.phases)

    @property
    def cost_usd(self) -> Range | None:
        """Dollars of all phases; ``None`` if a price is not known."""
        return _sum_ranges([phase.cost_usd for phase in self.phases])

    @property
    def seconds(self) -> tuple[float, float]:
        """Seconds of all phases, low and high."""
        return sum(phase.seconds[0] for phase in self.phases), sum(phase.seconds[1] for phase in self.phases)

    def as_dict(self) -> dict[str, Any]:
        """Return the forecast as plain data."""
        total = PhaseForecast(
            "total",
            self.calls,
            self.proposals,
            self.judgements,
            sum(phase.prompt_tokens for phase in self.phases),
            sum(phase.completion_tokens for phase in self.phases),
            self.cost_usd,
            self.seconds,
        )
        return {"phases": [_as_dict(phase) for phase in self.phases], **_as_dict(total)}


@dataclass(frozen=True, slots=True)
class _Case:
    """Tokens of one call in one of the three cases, and the calls that each phase makes then."""

    baseline: int
    candidate: int
    answer: int
    proposal: tuple[int, int]
    search_calls: int
    asks: int
    is_judged: bool


_Shape = tuple[str, Callable[[_Case], tuple[int, int]], int]
"""A phase: its name, its calls with the starting prompt and with others in a case, and its proposals."""


def forecast(config: RunConfig, task: Task, plan: SearchPlan) -> Forecast:
    """Return what a run of ``config`` on ``task`` by ``plan`` will take."""
    if isinstance(plan, GepaPlan):
        return _gepa_forecast(config, task, plan)
    settings = config.settings
    assert isinstance(plan, Plan)
    assert isinstance(settings, OptimizerSettings)
    cases = _cases(config, settings, task, plan)
    per_round = _proposals_per_round(config, settings)
    rounds = settings.num_bootstrap_seeds * per_round
    later = sum(0 < r.number < settings.generations and r.newcomers > 0 for r in plan.rungs) * per_round
    # Test rows are asked with the baseline's prompt and the winner's; the two of the ablation have one part of each.
    shapes: Sequence[_Shape] = (
        ("Bootstrap", lambda c: (plan.bootstrap, 0), rounds + (1 if rounds else 0)),
        ("Search", lambda c: (plan.baseline, c.search_calls), later),
        ("Final test", lambda c: (plan.final_rows, plan.final_rows), 0),
        ("Ablation", lambda c: (plan.ablation_rows, plan.ablation_rows), 0),
    )
    return _of_phases(config, cases, shapes, round_asks=(1 + per_round) * cases[2].asks)


def _gepa_forecast(config: RunConfig, task: Task, plan: GepaPlan) -> Forecast:
    """Low: the starting instruction reaches the target. High: no new instruction is ever accepted, so that each step is
    as short as it can be and most proposals are asked for."""
    query = _mean([len(row.query) for row in task.val])
    longest = max((len(row.query) for row in (*task.val, *task.test)), default=0)
    form = _form_chars(config, task)
    bare = _prompt_tokens(task.baseline, form, query)
    asked = GEPA_PROPOSAL_CHARS + plan.minibatch * (query + GEPA_SAMPLE_CHARS)
    proposal = round((asked + len(task.instruction)) / CHARS_PER_TOKEN)
    top = _prompt_tokens(task.baseline, form, longest) + GEPA_ANSWER_TOKENS[1]
    most_steps = max(plan.steps, plan.evolution // (2 * plan.minibatch))
    low = _Case(bare, bare, ANSWER_TOKENS, (proposal, GEPA_ANSWER_TOKENS[0]), 0, 0, task.kind == "judged")
    expected = replace(low, candidate=bare + GEPA_ANSWER_TOKENS[0], search_calls=plan.evolution, asks=1)
    high = _Case(
        bare,
        top,
        config.policy.max_completion_tokens,
        (2 * proposal + GEPA_ANSWER_TOKENS[1], GEPA_ANSWER_TOKENS[1]),
        plan.evolution,
        math.ceil((1 + MAX_REASKS) * most_steps / plan.steps),
        low.is_judged,
    )
    written = {"built-in": 0, "both": math.ceil(plan.steps / META_MODEL_TURN)}.get(config.proposer, plan.steps)
    shapes: Sequence[_Shape] = (
        ("Baseline", lambda c: (plan.baseline, 0), 0),
        ("Evolution", lambda c: (0, c.search_calls), written),
        ("Final test", lambda c: (plan.final_rows, plan.final_rows), 0),
    )
    return _of_phases(config, (low, expected, high), shapes, round_asks=1 + MAX_REASKS)


def _of_phases(
    config: RunConfig, cases: tuple[_Case, _Case, _Case], shapes: Sequence[_Shape], round_asks: int
) -> Forecast:
    phases = tuple(_phase(config, name, [(c, *calls(c)) for c in cases], asked) for name, calls, asked in shapes)
    high = cases[2]
    call_usd = _rollout_price(config, high, high.candidate)
    proposal_usd = _meta_price(config, *high.proposal)
    round_usd = None if proposal_usd is None else round_asks * proposal_usd
    return Forecast(phases, call_usd, round_usd)


def time_in_words(seconds: tuple[float, float]) -> str:
    """Return ``2 to 5 minutes`` or ``20 to 50 s``."""
    low, high = seconds
    if high < 90:
        return f"{max(1, round(low))} to {max(2, round(high))} s"
    return f"{max(1, round(low / 60))} to {max(2, round(high / 60))} minutes"


def cost_in_words(cost: Range | None) -> str:
    """Return the expected cost with its range, or that it is unknown."""
    if cost is None:
        return "unknown: no price is known for this model; --max-cost-usd cannot help, budget does"
    if cost[2] == 0:
        return "nothing: the model runs on this machine"
    return f"about ${cost[1]:.3f} (${cost[0]:.3f} to ${cost[2]:.3f})"


def _cases(config: RunConfig, settings: OptimizerSettings, task: Task, plan: Plan) -> tuple[_Case, _Case, _Case]:
    query = _mean([len(row.query) for row in task.val])
    longest = max((len(row.query) for row in (*task.val, *task.test)), default=0)
    form = _form_chars(config, task)
    bare = _prompt_tokens(task.baseline, form, query)
    sets = build_demo_sets(task.train, Evidence(), replace(settings, num_demo_sets=min(settings.num_demo_sets, 8)))
    lengths = [_prompt_tokens(Candidate(task.instruction, s.demos), form, query) for s in sets]
    top = max(_prompt_tokens(Candidate(task.instruction, s.demos), form, longest) for s in sets)
    # A new instruction is about as long as the model may make it; the starting one is no guide.
    top += LONG_PROPOSAL_ANSWER_TOKENS if settings.optimize_instructions else 0
    proposal = round((PROPOSAL_CHARS + sum(len(label) + 4 for label in task.labels)) / CHARS_PER_TOKEN)
    planned = plan.search + plan.finalists
    is_judged = task.kind == "judged"
    low = _Case(bare, bare, ANSWER_TOKENS, (proposal, PROPOSAL_ANSWER_TOKENS), plan.rungs[0].spent_after, 1, is_judged)
    expected = replace(low, candidate=round(_mean(lengths)), search_calls=planned)
    high = _Case(
        top,
        top,
        config.policy.max_completion_tokens,
        (2 * proposal, LONG_PROPOSAL_ANSWER_TOKENS),
        planned,
        1 + MAX_REASKS,
        is_judged,
    )
    return low, expected, high


def _phase(config: RunConfig, name: str, cases: Sequence[tuple[_Case, int, int]], proposals: int) -> PhaseForecast:
    costs: list[float | None] = []
    for case, with_baseline, with_candidate in cases:
        parts = [
            _times(with_baseline, _rollout_price(config, case, case.baseline)),
            _times(with_candidate, _rollout_price(config, case, case.candidate)),
            _times(proposals * case.asks, _meta_price(config, *case.proposal)),
        ]
        known = [part for part in parts if part is not None]
        costs.append(sum(known) if len(known) == len(parts) else None)
    case, with_baseline, with_candidate = cases[1]
    calls = with_baseline + with_candidate
    judgements = calls if case.is_judged else 0
    prompt = with_baseline * case.baseline + with_candidate * case.candidate + proposals * case.proposal[0]
    prompt += judgements * (JUDGE_PROMPT_TOKENS + case.answer)
    answers = calls * case.answer + proposals * case.proposal[1] + judgements * JUDGE_ANSWER_TOKENS
    priced = [cost for cost in costs if cost is not None]
    cost = (priced[0], priced[1], priced[2]) if len(priced) == len(costs) else None
    seconds = _seconds(config, calls, proposals, judgements)
    return PhaseForecast(name, calls, proposals, judgements, prompt, answers, cost, seconds)


def _prompt_tokens(candidate: Candidate, form_chars: int, query_chars: float) -> int:
    messages = candidate_messages(candidate, "")
    text = sum(len(message["content"]) for message in messages)
    return round((text + form_chars + query_chars) / CHARS_PER_TOKEN + TURN_TOKENS * len(messages))


def _form_chars(config: RunConfig, task: Task) -> int:
    """Characters of the list of labels that goes with every question; the local model is held to it by a grammar."""
    if config.policy.provider == "local" and config.policy.output_mode != "text":
        return 0
    return len(json.dumps(list(task.labels))) if task.labels else 0


def _proposals_per_round(config: RunConfig, settings: OptimizerSettings) -> int:
    if not settings.optimize_instructions or config.proposer == "built-in":
        return 0
    wanted = settings.num_instructions_per_module
    return max(1, wanted // 4) if config.proposer == "both" else wanted


def _rollout_price(config: RunConfig, case: _Case, prompt_tokens: int) -> float | None:
    """Dollars of one rollout: the policy model's call, and the judge's where there is one."""
    asked = _policy_price(config, prompt_tokens, case.answer)
    judged = _meta_price(config, JUDGE_PROMPT_TOKENS + case.answer, JUDGE_ANSWER_TOKENS) if case.is_judged else 0.0
    return None if asked is None or judged is None else asked + judged


def _policy_price(config: RunConfig, prompt_tokens: int, answer_tokens: int) -> float | None:
    return price_of(config.model("policy"), TokenUsage(prompt_tokens, answer_tokens))


def _meta_price(config: RunConfig, prompt_tokens: int, answer_tokens: int) -> float | None:
    return price_of(config.meta, TokenUsage(prompt_tokens, answer_tokens))


def price_of(model: ModelConfig, usage: TokenUsage) -> float | None:
    """Return what one call costs in US dollars, by the configured prices or the price list; ``None`` if unknown."""
    if model.options.prices is not None:
        return price_at(model.options.prices, usage)
    return price(model.provider, model.model, usage, model.base_url)


def _times(count: int, each: float | None) -> float | None:
    if count == 0:
        return 0.0
    return None if each is None else count * each


def _seconds(config: RunConfig, calls: int, proposals: int, judgements: int) -> tuple[float, float]:
    meta = config.meta_model_provider
    proposal = LOCAL_PROPOSAL_SECONDS if meta == "local" else HOSTED_PROPOSAL_SECONDS
    asked, judged = _call_seconds(config, config.policy.provider), _call_seconds(config, meta)
    return (
        calls * asked[0] + judgements * judged[0] + proposals * proposal[0],
        calls * asked[1] + judgements * judged[1] + proposals * proposal[1],
    )


def _call_seconds(config: RunConfig, provider: str) -> tuple[float, float]:
    """Return what a call adds to a run, low and high: the local model answers one at a time."""
    if provider == "local":
        return LOCAL_SECONDS
    at_once = max(1, config.max_concurrent)
    return HOSTED_SECONDS[0] / at_once, HOSTED_SECONDS[1] / at_once


def _sum_ranges(ranges: Sequence[Range | None]) -> Range | None:
    known = [found for found in ranges if found is not None]
    if len(known) < len(ranges):
        return None
    return sum(r[0] for r in known), sum(r[1] for r in known), sum(r[2] for r in known)


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0


def _as_dict(phase: PhaseForecast) -> dict[str, Any]:
    cost = None if phase.cost_usd is None else dict(zip(("low", "expected", "high"), phase.cost_usd, strict=True))
    return {
        "name": phase.name,
        "calls": phase.calls,
        "proposals": phase.proposals,
        "judgements": phase.judgements,
        "prompt_tokens": phase.prompt_tokens,
        "completion_tokens": phase.completion_tokens,
        "cost_usd": cost,
        "seconds": {"low": phase.seconds[0], "high": phase.seconds[1]},
    }
