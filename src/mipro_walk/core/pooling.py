"""What all rollouts together say of each candidate: a linear mixed model over instructions, demo sets and rows.

``score = row + mean + instruction + demo set + interaction + noise``, every part but the mean drawn from a normal
distribution of its own variance; with several stages, each has an instruction and a demo set. A candidate borrows
strength from those that share a part with it, rows that happen to be hard count against nobody, and a lucky short run
is drawn back to what its parts promise.

Source: best linear unbiased prediction, Henderson 1975, Biometrics 31(2); variance components by expectation
maximisation, Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B 39(1). Differs: a weak prior keeps every variance away
from zero, since a search starts with a handful of rollouts; row effects are fitted in turn with the others
(backfitting).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from threadpoolctl import ThreadpoolController

from mipro_walk.core.search_space import Key

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


@dataclass(frozen=True, slots=True)
class Observations:
    """Known scores, one entry for each rollout: ``len(candidate) == len(row) == len(score)``.

    Attributes:
        keys: the candidates; all have the same axes.
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
    """The quantities that the fitting rounds improve in turn.

    ``column[c, a]`` is where the effect of candidate ``c`` on axis ``a`` stands among ``effects``; the mean is the
    first of them, so column 0 of each candidate is 0.
    """

    def __init__(self, observed: Observations) -> None:
        self.data = observed
        self.n = np.bincount(observed.candidate, minlength=len(observed.keys)).astype(float)
        self.row_n = np.bincount(observed.row)
        levels = [np.unique(axis, return_inverse=True)[1] for axis in np.array(observed.keys).T]
        ends = np.cumsum([1, *(1 + axis.max() for axis in levels)])
        self.axes = [slice(start, end) for start, end in pairwise(ends)]
        self.column = np.column_stack([np.zeros_like(levels[0]), *(ends[a] + axis for a, axis in enumerate(levels))])
        self.mean = np.full(len(observed.keys), float(observed.score.mean()))
        self.row_effect = np.zeros(len(self.row_n))
        self.axis_variance = np.full(len(self.axes), PRIOR_AXIS_SD**2)
        self.interaction_variance = PRIOR_INTERACTION_SD**2

    def fit_rows(self) -> None:
        data = self.data
        residual = data.score - self.mean[data.candidate]
        self.noise = max(MIN_NOISE_VARIANCE, float(np.mean((residual - self.row_effect[data.row]) ** 2)))
        self.row_effect = np.bincount(data.row, residual) / (self.row_n + self.noise / ROW_VARIANCE)

    def fit_candidates(self) -> None:
        """Solve for the mean and the axes, then let each candidate depart from their sum."""
        data, column = self.data, self.column
        observed = np.bincount(data.candidate, data.score - self.row_effect[data.row], len(self.n)) / self.n
        self.alone = observed
        weight = 1.0 / (self.interaction_variance + self.noise / self.n)
        self.covariance = np.linalg.inv(self._precision(weight))
        total = sum(np.bincount(axis, weight * observed, len(self.covariance)) for axis in column.T)
        self.effects = self.covariance @ total
        expected = self.effects[column].sum(axis=1)
        # Rounding can leave a variance a hair below zero when it is nearly nothing.
        pairs = self.covariance[column[:, :, None], column[:, None, :]]
        self.expected_variance = np.maximum(0.0, pairs.sum(axis=(1, 2)))
        self.trust = self.interaction_variance * weight
        self.departure = self.trust * (observed - expected)
        self.mean = expected + self.departure
        self.variance = self.interaction_variance * (1 - self.trust) + (1 - self.trust) ** 2 * self.expected_variance

    def fit_variances(self) -> None:
        squares = self.effects**2 + np.diag(self.covariance)
        for number, axis in enumerate(self.axes):
            self.axis_variance[number] = _with_prior(squares[axis], PRIOR_AXIS_SD)
        departures = (
            self.departure**2 + self.interaction_variance * (1 - self.trust) + self.trust**2 * self.expected_variance
        )
        self.interaction_variance = _with_prior(departures, PRIOR_INTERACTION_SD)

    def _precision(self, weight: np.ndarray) -> np.ndarray:
        """Return the precision of the mean and of all levels: data plus prior."""
        size = self.axes[-1].stop
        precision = np.zeros((size, size))
        for rows in self.column.T:
            for columns in self.column.T:
                cells = np.bincount(rows * size + columns, weight, size * size)
                precision += cells.reshape(size, size)
        precision[0, 0] += 1e-6
        for variance, axis in zip(self.axis_variance, self.axes, strict=True):
            precision[axis, axis] += np.diag(np.full(axis.stop - axis.start, 1 / variance))
        return precision


def _with_prior(squares: np.ndarray, prior_sd: float) -> float:
    return float((squares.sum() + PRIOR_LEVELS * prior_sd**2) / (len(squares) + PRIOR_LEVELS))
