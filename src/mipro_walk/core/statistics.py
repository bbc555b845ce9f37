"""Paired comparison of two prompts on the same rows: difference, 95 % interval, p-value, verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["better", "no significant gain", "worse"]

Z95 = 1.959963984540054
RESAMPLES = 10_000
RESAMPLING_SEED = 20240617
"""Fixed, so that the same scores always give the same interval."""


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Candidate against baseline on ``n`` common rows.

    Attributes:
        baseline: mean score of the baseline, 0..1.
        candidate: mean score of the candidate, 0..1.
        difference: ``candidate - baseline``.
        low, high: 95 % interval of the difference.
        p_value: two-sided, of no difference.
        gained, lost: rows on which the candidate scored higher, lower.
        excluded: rows left out because one of the two outcomes is unknown.
    """

    n: int
    baseline: float
    candidate: float
    difference: float
    low: float
    high: float
    p_value: float
    gained: int
    lost: int
    excluded: int
    verdict: Verdict


def compare_paired(baseline: Sequence[float | None], candidate: Sequence[float | None]) -> PairedComparison:
    """Compare two aligned score lists; ``None`` marks an unknown outcome and excludes its pair.

    Scores that are all 0 or 1 get the Bonett-Price interval (adjusted Wald for paired proportions) and the
    mid-p McNemar test, which agrees with it better than the overcautious exact test; other scores get a percentile
    bootstrap and a sign-flip permutation test.

    Source: Bonett & Price 2012, "Adjusted Wald confidence interval for a difference of binomial proportions
    based on paired data", J. Educ. Behav. Stat. 37(4); Fagerland, Lydersen & Laake 2013, "The McNemar test for
    binary matched-pairs data: mid-p and asymptotic are better than exact conditional", BMC Med. Res. Methodol. 13.

    Raises:
        ValueError: the lists differ in length.
    """
    if len(baseline) != len(candidate):
        raise ValueError(f"{len(baseline)} baseline scores, {len(candidate)} candidate scores")
    pairs = [(float(b), float(c)) for b, c in zip(baseline, candidate, strict=True) if b is not None and c is not None]
    excluded = len(baseline) - len(pairs)
    n = len(pairs)
    if n == 0:
        return PairedComparison(0, 0.0, 0.0, 0.0, -1.0, 1.0, 1.0, 0, 0, excluded, "no significant gain")
    gained = sum(c > b for b, c in pairs)
    lost = sum(c < b for b, c in pairs)
    base_mean = sum(b for b, _ in pairs) / n
    cand_mean = sum(c for _, c in pairs) / n
    if all(value in (0.0, 1.0) for pair in pairs for value in pair):
        low, high = _bonett_price(gained, lost, n)
        p_value = _mcnemar_mid_p(gained, lost)
    else:
        low, high, p_value = _resampled(np.array([c - b for b, c in pairs]))
    return PairedComparison(
        n,
        base_mean,
        cand_mean,
        cand_mean - base_mean,
        low,
        high,
        p_value,
        gained,
        lost,
        excluded,
        _verdict(low, high),
    )


def detectable_difference(n: int, discordant_share: float = 0.3) -> float:
    """Return the difference that ``n`` paired rows show with 80 % power at the 5 % level.

    ``discordant_share`` is the share of rows on which the two prompts differ.
    """
    if n == 0:
        return 1.0
    return min(1.0, (Z95 + 0.8416) * math.sqrt(discordant_share / n))


def _verdict(low: float, high: float) -> Verdict:
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no significant gain"


def _bonett_price(gained: int, lost: int, n: int) -> tuple[float, float]:
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    centre = up - down
    half = Z95 * math.sqrt((up + down - centre**2) / (n + 2))
    return max(-1.0, centre - half), min(1.0, centre + half)


def _mcnemar_mid_p(gained: int, lost: int) -> float:
    discordant = gained + lost
    fewer = min(gained, lost)
    below = sum(math.comb(discordant, k) for k in range(fewer))
    return float(min(1.0, (2 * below + math.comb(discordant, fewer)) / 2**discordant))


def _resampled(differences: np.ndarray) -> tuple[float, float, float]:
    rng = np.random.default_rng(RESAMPLING_SEED)
    n = len(differences)
    observed = abs(differences.mean())
    means = np.empty(RESAMPLES)
    extreme = 0
    for i in range(RESAMPLES):
        means[i] = differences[rng.integers(0, n, n)].mean()
        extreme += abs((differences * rng.choice((-1.0, 1.0), n)).mean()) >= observed - 1e-12
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high), (extreme + 1) / (RESAMPLES + 1)
