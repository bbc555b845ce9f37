"""What all rollouts together say of each candidate: a linear mixed model over instructions, demo sets and rows.

``score = row + mean + instruction + demo set + interaction + noise``, every part but the mean drawn from a normal
distribution of its own variance. A candidate borrows strength from those that share its instruction or its demo set,
rows that happen to be hard count against nobody, and a lucky short run is drawn back to what its parts promise.

Source: best linear unbiased prediction, Henderson 1975, Biometrics 31(2); variance components by expectation
maximisation, Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B 39(1). Differs: a weak prior keeps every variance away
from zero, since a search starts with a handful of rollouts; row effects are fitted in turn with the others
(backfitting).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import ThreadpoolController

ROUNDS = 6
"""Rounds of fitting; the estimates move by less than a tenth of a point afterwards."""
PRIOR_LEVELS = 4.0
"""Weight of the prior on each variance, in levels (instructions, demo sets, candidates)."""
PRIOR_AXIS_SD = 0.03
PRIOR_INTERACTION_SD = 0.015
ROW_VARIANCE = 0.12
"""Variance of a 0/1 score between rows, half of the largest there is: rows seen by few candidates stay near zero."""
MIN_NOISE_VARIANCE = 0.02
DIGITS = 9
"""Estimates are rounded to so many: the last bits of a matrix inverse depend on where in memory it lies, and the same
run must give the same bytes."""

BLAS = ThreadpoolController()
"""Matrices of some hundred rows are inverted faster by one thread; several wait for each other on a busy machine."""

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Observations:
    """Known scores, one entry for each rollout: ``len(candidate) == len(row) == len(score)``.

    Attributes:
        keys: the candidates, ``(instruction index, demo set index)``.
        candidate: index into ``keys``.
        row: index of the row, 0-based and dense.
        score: 0..1.
    """

    keys: Sequence[Key]
    candidate: np.ndarray
    row: np.ndarray
    score: np.ndarray


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a candidate would score on all rows, 0..1.

    Attributes:
        mean, sd: posterior mean and standard deviation.
        alone: the mean of its own rows, corrected for how hard they are, with nothing borrowed from others.
    """

    mean: float
    sd: float
    alone: float


def pool(observed: Observations) -> dict[Key, Estimate]:
    """Return the estimate of every candidate that has a known score. Empty without any."""
    if not len(observed.score):
        return {}
    model = _Model(observed)
    with BLAS.limit(limits=1):
        for _ in range(ROUNDS):
            model.fit_rows()
            model.fit_candidates()
            model.fit_variances()
    found = np.round([model.mean, np.sqrt(model.variance), model.alone], DIGITS).T.tolist()
    return {key: Estimate(*values) for key, values in zip(observed.keys, found, strict=True)}


class _Model:
    """The quantities that the fitting rounds improve in turn. ``instruction[c]`` and ``demo_set[c]`` are levels."""

    def __init__(self, observed: Observations) -> None:
        self.data = observed
        self.n = np.bincount(observed.candidate, minlength=len(observed.keys)).astype(float)
        self.row_n = np.bincount(observed.row)
        levels = np.array(observed.keys)
        self.instructions, self.instruction = np.unique(levels[:, 0], return_inverse=True)
        self.demo_sets, self.demo_set = np.unique(levels[:, 1], return_inverse=True)
        self.mean = np.full(len(observed.keys), float(observed.score.mean()))
        self.row_effect = np.zeros(len(self.row_n))
        self.axis_variance = np.array([PRIOR_AXIS_SD, PRIOR_AXIS_SD]) ** 2
        self.interaction_variance = PRIOR_INTERACTION_SD**2

    def fit_rows(self) -> None:
        data = self.data
        residual = data.score - self.mean[data.candidate]
        self.noise = max(MIN_NOISE_VARIANCE, float(np.mean((residual - self.row_effect[data.row]) ** 2)))
        self.row_effect = np.bincount(data.row, residual) / (self.row_n + self.noise / ROW_VARIANCE)

    def fit_candidates(self) -> None:
        """Solve for mean, instructions and demo sets, then let each candidate depart from their sum."""
        data, count = self.data, len(self.instructions)
        observed = np.bincount(data.candidate, data.score - self.row_effect[data.row], len(self.n)) / self.n
        self.alone = observed
        weight = 1.0 / (self.interaction_variance + self.noise / self.n)
        self.covariance = np.linalg.inv(self._precision(weight))
        total = np.bincount(self.instruction, weight * observed, count)
        right = np.concatenate(
            [[total.sum()], total, np.bincount(self.demo_set, weight * observed, len(self.demo_sets))]
        )
        self.effects = self.covariance @ right
        i, d = 1 + self.instruction, 1 + count + self.demo_set
        expected = self.effects[0] + self.effects[i] + self.effects[d]
        c = self.covariance
        # Rounding can leave a variance a hair below zero when it is nearly nothing.
        self.expected_variance = np.maximum(0.0, c[0, 0] + c[i, i] + c[d, d] + 2 * (c[0, i] + c[0, d] + c[i, d]))
        self.trust = self.interaction_variance * weight
        self.departure = self.trust * (observed - expected)
        self.mean = expected + self.departure
        self.variance = self.interaction_variance * (1 - self.trust) + (1 - self.trust) ** 2 * self.expected_variance

    def fit_variances(self) -> None:
        count = len(self.instructions)
        squares = self.effects**2 + np.diag(self.covariance)
        for axis, part in enumerate((squares[1 : 1 + count], squares[1 + count :])):
            self.axis_variance[axis] = _with_prior(part, PRIOR_AXIS_SD)
        departures = (
            self.departure**2 + self.interaction_variance * (1 - self.trust) + self.trust**2 * self.expected_variance
        )
        self.interaction_variance = _with_prior(departures, PRIOR_INTERACTION_SD)

    def _precision(self, weight: np.ndarray) -> np.ndarray:
        """Return the precision of (mean, instructions, demo sets): data plus prior."""
        count, sets = len(self.instructions), len(self.demo_sets)
        by_instruction = np.bincount(self.instruction, weight, count)
        by_set = np.bincount(self.demo_set, weight, sets)
        cross = np.bincount(self.instruction * sets + self.demo_set, weight, count * sets).reshape(count, sets)
        precision = np.empty((1 + count + sets, 1 + count + sets))
        precision[0] = np.concatenate([[weight.sum() + 1e-6], by_instruction, by_set])
        precision[:, 0] = precision[0]
        precision[1 : 1 + count, 1 : 1 + count] = np.diag(by_instruction + 1 / self.axis_variance[0])
        precision[1 + count :, 1 + count :] = np.diag(by_set + 1 / self.axis_variance[1])
        precision[1 : 1 + count, 1 + count :] = cross
        precision[1 + count :, 1 : 1 + count] = cross.T
        return precision


def _with_prior(squares: np.ndarray, prior_sd: float) -> float:
    return float((squares.sum() + PRIOR_LEVELS * prior_sd**2) / (len(squares) + PRIOR_LEVELS))
