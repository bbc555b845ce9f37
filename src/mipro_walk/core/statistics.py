"""Paired comparison of two prompts on the same rows: difference, 95 % interval, p-value, verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import correlation
from typing import Literal

import numpy as np

Verdict = Literal["better", "no significant gain", "worse"]

Z95 = 1.959963984540054
Z80 = 0.8416212335729143
"""Normal quantile of 80 % power."""
SIGNIFICANCE = 0.05
RESAMPLES = 10_000
RESAMPLES_AT_ONCE = 500
SUBSETS = 2**15
"""Sets of rows whose signs are flipped: all of them up to 15 rows, so many drawn for more."""
SIGNS_AT_ONCE = 2**18
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
        discordance: mean squared difference of a pair, 0..1; for right/wrong scores the share of rows on which the two
            differ.
        cautious_low, cautious_high: the interval if every unknown outcome had gone against the candidate (low end) and
            for it (high end); without unknown outcomes the same as ``low`` and ``high``. For fractional scores never
            inside these.
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
    discordance: float
    cautious_low: float
    cautious_high: float
    verdict: Verdict

    @property
    def could_turn(self) -> bool:
        """Whether the unknown rows alone could take the verdict away: ``better`` or ``worse`` rests on them."""
        return (self.verdict == "better" and self.cautious_low <= 0) or (
            self.verdict == "worse" and self.cautious_high >= 0
        )


def compare_paired(baseline: Sequence[float | None], candidate: Sequence[float | None]) -> PairedComparison:
    """Compare two aligned score lists; ``None`` marks an unknown outcome and excludes its pair.

    Scores that are all 0 or 1 get the Bonett-Price interval (adjusted Wald for paired proportions) and the
    mid-p McNemar test, which agrees with it better than the overcautious exact test. Other scores get a sign-flip
    permutation test and the interval of all shifts that it does not reject, so that zero lies outside exactly if p is
    below 0.05. A verdict needs both to agree.

    The sign-flip test takes differences to be symmetric around their mean, as they are for equal prompts. With five
    rows or fewer it rejects nothing: the interval is -1 to 1. If six or more differences are all the same, it rejects
    every other shift, and the interval is that one value. Where no row differs at all this would claim too much, so the
    interval is what rows not seen could hide: had more than ``1 - 0.05 ** (1 / n)`` of all rows differed, by 1 at most,
    one of ``n`` would have shown it with 95 % probability.

    Source: Bonett & Price 2012, "Adjusted Wald confidence interval for a difference of binomial proportions
    based on paired data", J. Educ. Behav. Stat. 37(4); Fagerland, Lydersen & Laake 2013, "The McNemar test for
    binary matched-pairs data: mid-p and asymptotic are better than exact conditional", BMC Med. Res. Methodol. 13;
    for the interval of the sign-flip test Hartigan 1969, "Using subsample values as typical values", J. Am. Stat.
    Assoc. 64(328), and Garthwaite 1996, "Confidence intervals from randomization tests", Biometrics 52(4); for rows
    that never differ Hanley & Lippman-Hand 1983, "If nothing goes wrong, is everything all right?", JAMA 249(13); for
    the cautious interval the bounds of Manski 1989, J. Hum. Resour. 24(3), with sampling error on top.

    Raises:
        ValueError: the lists differ in length.
    """
    if len(baseline) != len(candidate):
        raise ValueError(f"{len(baseline)} baseline scores, {len(candidate)} candidate scores")
    pairs = [(float(b), float(c)) for b, c in zip(baseline, candidate, strict=True) if b is not None and c is not None]
    excluded = len(baseline) - len(pairs)
    if not pairs:
        return PairedComparison(0, 0.0, 0.0, 0.0, -1.0, 1.0, 1.0, 0, 0, excluded, 0.0, -1.0, 1.0, "no significant gain")
    base, cand = np.array(pairs).T
    low, high, p_value = _infer(base, cand)
    cautious_low, cautious_high = low, high
    if excluded:
        cautious_low = _infer(_filled(baseline, 1.0), _filled(candidate, 0.0))[0]
        cautious_high = _infer(_filled(baseline, 0.0), _filled(candidate, 1.0))[1]
        if not _are_right_or_wrong(base, cand):  # one row that differs can narrow an interval where none did
            cautious_low, cautious_high = min(low, cautious_low), max(high, cautious_high)
    return PairedComparison(
        n=len(pairs),
        baseline=float(base.mean()),
        candidate=float(cand.mean()),
        difference=float(cand.mean() - base.mean()),
        low=low,
        high=high,
        p_value=p_value,
        gained=int((cand > base).sum()),
        lost=int((cand < base).sum()),
        excluded=excluded,
        discordance=float(((cand - base) ** 2).mean()),
        cautious_low=cautious_low,
        cautious_high=cautious_high,
        verdict=_verdict(low, high, p_value),
    )


def mean_interval(scores: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean score: Wilson's for right/wrong scores, else a percentile bootstrap.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference", J. Am. Stat. Assoc. 22.

    >>> tuple(round(end, 3) for end in mean_interval([1.0] * 8 + [0.0] * 2))
    (0.49, 0.943)
    """
    n = len(scores)
    if n == 0:
        return 0.0, 1.0
    values = np.array(scores, dtype=float)
    if not _are_right_or_wrong(values):
        return _bootstrap(values)
    mean, z2 = float(values.mean()), Z95**2
    centre = (mean + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(mean * (1 - mean) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def detectable_difference(n: int, discordance: float) -> float:
    """Return the difference (0..1) that ``n`` paired rows show with 80 % power at the 5 % level.

    ``discordance`` as in :class:`PairedComparison`. Inverts :func:`rows_needed`; 1 if even that is too small.
    """
    low, high = 0.0, 1.0
    if n == 0:
        return high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if rows_needed(middle, discordance) <= n else (middle, high)
    return high


def rows_needed(difference: float, discordance: float) -> int:
    """Return how many paired rows show ``difference`` (0..1, not 0) with 80 % power at the 5 % level.

    Source: Connor 1987, "Sample size for testing differences in proportions for the paired-sample design", Biometrics
    43(1).
    """
    size = abs(difference)
    spread = max(discordance, size)  # two prompts that differ by so much disagree on at least as many rows
    return math.ceil((Z95 * math.sqrt(spread) + Z80 * math.sqrt(spread - size**2)) ** 2 / size**2)


def _infer(base: np.ndarray, cand: np.ndarray) -> tuple[float, float, float]:
    """Return low, high and p-value."""
    if _are_right_or_wrong(base, cand):
        gained, lost = int((cand > base).sum()), int((cand < base).sum())
        return *_bonett_price(gained, lost, len(base)), _mcnemar_mid_p(gained, lost)
    return _sign_flips(cand - base)


def _are_right_or_wrong(*scores: np.ndarray) -> bool:
    return all(bool(np.isin(values, (0.0, 1.0)).all()) for values in scores)


def _filled(scores: Sequence[float | None], value: float) -> np.ndarray:
    return np.array([value if score is None else score for score in scores])


def _verdict(low: float, high: float, p_value: float) -> Verdict:
    if p_value >= SIGNIFICANCE or low <= 0 <= high:
        return "no significant gain"
    return "better" if low > 0 else "worse"


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


def _bootstrap(values: np.ndarray) -> tuple[float, float]:
    rng = np.random.default_rng(RESAMPLING_SEED)
    n = len(values)
    means = [
        values[rng.integers(0, n, (RESAMPLES_AT_ONCE, n))].mean(axis=1) for _ in range(RESAMPLES // RESAMPLES_AT_ONCE)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def _sign_flips(differences: np.ndarray) -> tuple[float, float, float]:
    """Return low, high and p-value of the sign-flip test.

    With a shift taken off the differences, flipping the signs of some rows leaves a sum at least as large exactly if
    the mean difference of these rows is at most the shift. So the sorted means of sets of rows hold the p-value of
    every shift, and the ends of the interval are two of them; nothing is searched for.
    """
    means = np.sort(_means_of_subsets(differences))
    flips = len(means) + 1  # with the observed signs, where no row is flipped: as extreme as themselves on both sides
    fewer = int(min((means <= 0).sum(), (means >= 0).sum()))
    p_value = min(1.0, 2 * (1 + fewer) / flips)
    needed = math.ceil(SIGNIFICANCE / 2 * flips) - 1  # a shift with fewer means on one side is rejected
    if needed == 0:
        return -1.0, 1.0, p_value
    if not means.any():
        unseen = round(1 - SIGNIFICANCE ** (1 / len(differences)), 8)
        return -unseen, unseen, p_value
    return float(means[needed - 1]), float(means[-needed]), p_value


def _means_of_subsets(differences: np.ndarray) -> np.ndarray:
    """Return the mean difference over each of the sets of rows, none of them empty.

    Sums are whole billionths and means rounded to 1e-8, so order of rows, machine and NumPy's version change nothing.
    Each drawn set comes with its mirror image in the order of the differences: exchanging the prompts only turns signs.
    """
    billionths = np.sort(np.rint(differences * 1e9))
    n = len(billionths)
    if 2**n <= SUBSETS:
        return _means(np.arange(1, 2**n, dtype="<u8")[:, None], billionths[:, None])
    words = np.random.PCG64(RESAMPLING_SEED).random_raw((SUBSETS // 2, -(-n // 64))).astype("<u8")
    both_ways = np.column_stack([billionths, billionths[::-1]])
    blocks = np.array_split(words, 1 + SUBSETS * n // SIGNS_AT_ONCE)
    return np.concatenate([_means(block, both_ways) for block in blocks])


def _means(words: np.ndarray, billionths: np.ndarray) -> np.ndarray:
    """Return the means of each column over sets of rows, the bits of a line of ``words``; empty sets are left out."""
    chosen = np.unpackbits(words.view(np.uint8), axis=1, count=len(billionths), bitorder="little").astype(float)
    sizes = chosen.sum(axis=1, keepdims=True)
    means: np.ndarray = chosen @ billionths / np.maximum(sizes, 1) / 1e9
    return np.asarray(np.round(means[sizes[:, 0] > 0], 8) + 0.0).ravel()  # adding makes -0 plain 0


def spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return Spearman's rank correlation, ties at their mean rank; ``None`` where one side does not vary."""
    if len(pairs) < 2:
        return None
    one, other = (_ranks([pair[side] for pair in pairs]) for side in (0, 1))
    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    return round(correlation(one, other), 6)


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(values)
    return [order.index(value) + (order.count(value) + 1) / 2 for value in values]
