"""How much of the scores' variation goes with the instruction, how much with the demonstration set.

Source: PED-ANOVA, Watanabe et al. 2023, arXiv:2304.10255, as Optuna has it; its fANOVA would need scikit-learn.
Differs: noise alone has an importance, too, and the more of it the more indices an axis has. So what shuffled scores
have on average is taken off before shares are formed, and no share is given where shuffling changes nothing.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import Study

from mipro_walk.core.scoreboard import Scoreboard
from mipro_walk.core.search_space import Key, SearchSpace

optuna.logging.set_verbosity(optuna.logging.WARNING)

AXES = ("instruction", "demo_set")
TOP_SHARE = 0.5
"""Share of the candidates whose indices are compared with everybody's: the better half. On simulated scores a smaller
share overlooks axes that decide; a search has tens of candidates, not thousands."""
PRIOR_ROWS = 4.0
"""Weight of no difference in a candidate's lift, in rows: a short lucky run must not look like a good candidate."""
MIN_CANDIDATES = 20
"""With fewer, most indices occur once, and their share in the better half is a coin's."""
MAX_CANDIDATES = 300
"""Of more, so many are drawn: enough to tell, and a matter of seconds on the largest spaces."""
SHUFFLES = 99
CHANCE = 0.025
"""An axis counts if at most this share of shuffled score lists makes it look as important: 5 % for the two together."""
SHUFFLING_SEED = 20240617
"""Fixed, so that the same scores always give the same answer."""


@dataclass(frozen=True, slots=True)
class Importance:
    """The weight of both axes.

    Attributes:
        candidates: how many candidates it was read from.
        instruction, demo_set: share of each axis, together 1; ``None`` where ``reason`` says why it is not known.
        p_values: by axis, share of shuffled score lists that make it look as important.
        reason: why nothing can be said, in words; empty otherwise.
    """

    candidates: int
    instruction: float | None = None
    demo_set: float | None = None
    p_values: Mapping[str, float] | None = None
    reason: str = ""


def axis_importance(board: Scoreboard, space: SearchSpace) -> Importance:
    """Return how important both axes of a single prompt were among the candidates that the search scored on val.

    The board's pooled estimates will not do: candidates of one instruction borrow from each other there, so both axes
    would look important in noise. Here each candidate stands on its own rows.
    """
    rng = random.Random(SHUFFLING_SEED)  # noqa: S311 - resampling, not security
    scored = [entry for entry in board.entries.values() if entry.n]
    scored = rng.sample(scored, MAX_CANDIDATES) if len(scored) > MAX_CANDIDATES else scored
    keys = [entry.key for entry in scored]
    estimates = _lifts([entry.known for entry in scored])
    if reason := _too_little(keys, estimates):
        return Importance(len(keys), reason=reason)
    study = _study_of(keys, space)
    found = _divergences(study, estimates)
    by_chance = [_divergences(study, rng.sample(estimates, len(estimates))) for _ in range(SHUFFLES)]
    p_values = {
        axis: (1 + sum(chance[axis] >= found[axis] - 1e-12 for chance in by_chance)) / (SHUFFLES + 1) for axis in AXES
    }
    if min(p_values.values()) > CHANCE:
        reason = f"the scores of {len(keys)} candidates follow neither axis more than shuffled scores do"
        return Importance(len(keys), p_values=p_values, reason=reason)
    beyond = {axis: max(0.0, found[axis] - sum(c[axis] for c in by_chance) / SHUFFLES) for axis in AXES}
    share = round(beyond["instruction"] / sum(beyond.values()), 9)
    return Importance(len(keys), share, round(1.0 - share, 9), p_values)


def _lifts(scores: Sequence[Mapping[int, float]]) -> list[float]:
    """Return how far each candidate lies above the means of its rows; few rows are drawn towards 0."""
    by_row: dict[int, list[float]] = {}
    for known in scores:
        for seed, score in known.items():
            by_row.setdefault(seed, []).append(score)
    means = {seed: sum(found) / len(found) for seed, found in by_row.items()}
    return [sum(score - means[seed] for seed, score in known.items()) / (len(known) + PRIOR_ROWS) for known in scores]


def _too_little(keys: Sequence[Key], estimates: Sequence[float]) -> str:
    if any(len({key[axis] for key in keys}) < 2 for axis in range(len(AXES))):
        return "only one of the two, instruction or demonstrations, was varied"
    if len(keys) < MIN_CANDIDATES:
        return f"{len(keys)} candidates say nothing about it; it takes {MIN_CANDIDATES}"
    if max(estimates) - min(estimates) < 1e-9:
        return f"all {len(keys)} candidates scored the same"
    return ""


def _study_of(keys: Sequence[Key], space: SearchSpace) -> Study:
    """Return a study with a trial for each key, in their order; scores are given with each question."""
    distributions: dict[str, BaseDistribution] = {
        axis: CategoricalDistribution(tuple(range(size))) for axis, size in zip(AXES, space.sizes, strict=True)
    }
    study = optuna.create_study()
    for key in keys:
        params = dict(zip(AXES, key, strict=True))
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=0.0))
    return study


def _divergences(study: Study, estimates: Sequence[float]) -> dict[str, float]:
    """Return for each axis how far the indices of the top share lie from everybody's; 0 means not at all."""
    evaluator = PedAnovaImportanceEvaluator(target_quantile=TOP_SHARE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it reminds that low targets are taken for good: hence the sign
        return evaluator.evaluate(study, params=list(AXES), target=lambda trial: -estimates[trial.number])
