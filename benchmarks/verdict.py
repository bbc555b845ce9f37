"""How often the verdict of the final test is right, for prompts whose true accuracy is known.

    python benchmarks/verdict.py [--draws 500] [--rng-seed 0] [--write docs/results.md]

Right/wrong scores are not drawn: on ``n`` rows the verdict depends only on how many rows were gained and lost, so every
such pair goes through ``compare_paired`` once and its answers are weighted with the probability of the pair. Those
figures have no simulation error. Fractional scores are drawn, and a percentile bootstrap of the same scores stands
beside their interval. Prints Markdown tables; ``--write`` puts them between the ``<!-- verdict -->`` markers of a
document.
"""

from __future__ import annotations

import argparse
import itertools
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from statistics import NormalDist

import numpy as np
from documents import write_between

from mipro_walk.core.statistics import SIGNIFICANCE, PairedComparison, compare_paired, detectable_difference

ROWS = (20, 50, 100, 130, 200, 500)
ACCURACIES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.95)
DIFFERENCES = (0.0, 0.02, 0.05, 0.10, 0.20)
ROW_SHARES = (0.0, 0.6, 0.9)
"""Share of the variance of right or wrong that belongs to the row: 0.9 is two prompts that seldom disagree."""
DISCORDANCES = (0.1, 0.3, 0.5)
NEGLIGIBLE = 1e-11
"""Pairs of counts less likely than this are left out; even with 500 rows all of them together are below 1e-6."""

FRACTIONAL_ROWS = (6, 10, 20, 50, 100, 200)
FRACTIONAL_ACCURACIES = (0.3, 0.6, 0.9)
FRACTIONAL_DIFFERENCES = (0.0, 0.05)
FRACTIONAL_ROW_SHARE = 0.6
SELDOM = 0.2
"""Share of rows on which prompts of the kind "quarters, seldom" can differ; all of the gain lies there."""
BOOTSTRAP_RESAMPLES = 2_000

ROUNDING = 1e-8
"""Ends of intervals are rounded to so much."""

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(200)
"""Gauss-Hermite quadrature for the standard normal; the weights add up to sqrt(2 pi)."""
normal_cdf = np.vectorize(NormalDist().cdf)
probit = NormalDist().inv_cdf


@dataclass(frozen=True)
class Scenario:
    """Two prompts of known accuracy (0..1) on ``n`` rows; ``kind`` of scores: right/wrong or one of ``KINDS``."""

    n: int
    accuracy: float
    difference: float
    row_share: float
    kind: str = "right/wrong"

    @property
    def name(self) -> str:
        """Where it lies in the grid."""
        return (
            f"{self.kind}, n = {self.n}, {100 * self.accuracy:.0f} % and {100 * self.difference:+.0f} points, "
            f"row share {self.row_share:g}"
        )

    @property
    def accuracy_where_it_differs(self) -> float:
        """Of the candidate, for fractional scores, so that over all rows it gains the difference."""
        return self.accuracy + self.difference / KINDS[self.kind].share

    @property
    def discordant(self) -> tuple[float, float]:
        """Probability of a row gained and of a row lost, for right/wrong scores.

        A row is right if ``quality + ease of the row + luck > 0``, as in ``landscapes.py``: given the ease the two
        prompts are independent, and the ease is integrated out.
        """
        base, cand = (self._right_given_ease(a) for a in (self.accuracy, self.accuracy + self.difference))
        gained, lost = ((1 - base) * cand) @ WEIGHTS, (base * (1 - cand)) @ WEIGHTS
        return float(gained / WEIGHTS.sum()), float(lost / WEIGHTS.sum())

    def _right_given_ease(self, accuracy: float) -> np.ndarray:
        ease, luck_sd = math.sqrt(self.row_share) * NODES, math.sqrt(1 - self.row_share)
        return np.asarray(normal_cdf((probit(accuracy) + ease) / luck_sd))


@dataclass(frozen=True)
class Figures:
    """Probabilities (0..1) in one scenario, exact or estimated.

    Attributes:
        covered: the 95 % interval holds the true difference.
        width: mean distance of its ends, 0..2.
        better, worse: the verdict says so.
        interval_alone: the interval leaves zero out although p is not below 0.05.
        p_alone: p is below 0.05 although the interval holds zero.
        contradicted: ``better`` or ``worse`` against the p-value or the interval.
        bias: mean reported difference minus the true one.
        shown_if_better: mean reported difference over the runs called better; not a number if there are none.
    """

    covered: float
    width: float
    better: float
    worse: float
    interval_alone: float
    p_alone: float
    contradicted: float
    bias: float
    shown_if_better: float

    @classmethod
    def of(cls, found: np.ndarray, weights: np.ndarray, truth: float) -> Figures:
        """Weigh comparisons (rows as :func:`read`; ``weights`` add up to 1)."""
        low, high, p_value, verdict, difference = found.T
        leaves_zero_out, significant = (low > 0) | (high < 0), p_value < SIGNIFICANCE
        better = verdict > 0

        def share(which: np.ndarray) -> float:
            return float(weights @ which)

        return cls(
            covered=share((low - ROUNDING <= truth) & (truth <= high + ROUNDING)),
            width=share(high - low),
            better=share(better),
            worse=share(verdict < 0),
            interval_alone=share(leaves_zero_out & ~significant),
            p_alone=share(significant & ~leaves_zero_out),
            contradicted=share((verdict != 0) & ~(leaves_zero_out & significant)),
            bias=share(difference) - truth,
            shown_if_better=share(better * difference) / share(better) if share(better) else math.nan,
        )


def read(c: PairedComparison) -> tuple[float, ...]:
    """Return low, high, p-value, verdict as -1, 0 or 1, and difference."""
    return c.low, c.high, c.p_value, (c.verdict == "better") - (c.verdict == "worse"), c.difference


class Counts:
    """All outcomes of right/wrong scores on ``n`` rows: each (gained, lost) compared once, when first needed."""

    def __init__(self, n: int) -> None:
        self.n = n
        gained, lost = np.indices((n + 1, n + 1))
        self._possible = np.argwhere(gained + lost <= n)
        self._log_factorial = np.array([math.lgamma(k + 1) for k in range(n + 1)])
        self._compared: dict[tuple[int, int], tuple[float, ...]] = {}

    def figures(self, up: float, down: float) -> Figures:
        """Return the exact figures for these probabilities of a row gained and lost."""
        probability = self._probability(up, down)
        likely = probability > NEGLIGIBLE
        found = np.array([self._compare(int(g), int(b)) for g, b in self._possible[likely]])
        return Figures.of(found, probability[likely] / probability[likely].sum(), up - down)

    def _probability(self, up: float, down: float) -> np.ndarray:
        gained, lost = self._possible.T
        same = self.n - gained - lost
        logs = self._log_factorial[self.n] - sum(self._log_factorial[k] for k in (gained, lost, same))
        # A kind of row that cannot occur has probability 0 ** 0 = 1 of not occurring; its logarithm would be no number.
        for count, chance in ((gained, up), (lost, down), (same, 1 - up - down)):
            logs = logs + np.where(count == 0, 0.0, count * math.log(max(chance, 1e-300)))
        return np.asarray(np.exp(logs))

    def _compare(self, gained: int, lost: int) -> tuple[float, ...]:
        if (gained, lost) not in self._compared:
            same = [1.0] * (self.n - gained - lost)
            baseline, candidate = [0.0] * gained + [1.0] * lost + same, [1.0] * gained + [0.0] * lost + same
            self._compared[gained, lost] = read(compare_paired(baseline, candidate))
        return self._compared[gained, lost]


def draw_quarters(rng: np.random.Generator, ease: np.ndarray, accuracy: float) -> np.ndarray:
    """Draw the mean of four right/wrong checks for each row."""
    luck = math.sqrt(1 - FRACTIONAL_ROW_SHARE) * rng.standard_normal((4, len(ease)))
    return np.asarray((probit(accuracy) + ease + luck > 0).mean(axis=0))


def draw_continuous(rng: np.random.Generator, ease: np.ndarray, accuracy: float) -> np.ndarray:
    """Draw a number between 0 and 1 for each row; with an accuracy of one half all are equally likely."""
    luck = math.sqrt(1 - FRACTIONAL_ROW_SHARE) * rng.standard_normal(len(ease))
    # The mean of cdf(normal(m, 1)) is cdf(m / sqrt(2)).
    return np.asarray(normal_cdf(math.sqrt(2) * probit(accuracy) + ease + luck))


@dataclass(frozen=True)
class Kind:
    """How fractional scores are drawn, and the share of rows on which the two prompts are not the same."""

    draw: Callable[[np.random.Generator, np.ndarray, float], np.ndarray]
    share: float = 1.0


KINDS = {
    "quarters": Kind(draw_quarters),
    "continuous": Kind(draw_continuous),
    "quarters, seldom": Kind(draw_quarters, SELDOM),
}


def draw_pair(scenario: Scenario, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the scores of baseline and candidate."""
    kind = KINDS[scenario.kind]
    ease = math.sqrt(scenario.row_share) * rng.standard_normal(scenario.n)
    baseline, candidate = (kind.draw(rng, ease, a) for a in (scenario.accuracy, scenario.accuracy_where_it_differs))
    return baseline, np.where(rng.uniform(size=scenario.n) < kind.share, candidate, baseline)


def percentile_bootstrap(differences: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % interval of the mean that the sign-flip test is measured against."""
    n = len(differences)
    means = differences[rng.integers(0, n, (BOOTSTRAP_RESAMPLES, n))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def simulate(scenario: Scenario, draws: int, rng: np.random.Generator) -> tuple[Figures, Figures]:
    """Estimate the figures of fractional scores from ``draws`` runs of the test, and with a bootstrap's interval."""
    found, with_bootstrap = [], []
    for _ in range(draws):
        baseline, candidate = draw_pair(scenario, rng)
        low, high, *rest = read(compare_paired(baseline.tolist(), candidate.tolist()))
        found.append((low, high, *rest))
        with_bootstrap.append((*percentile_bootstrap(candidate - baseline, rng), *rest))
    weights = np.full(draws, 1 / draws)
    ours, bootstrap = (Figures.of(np.array(one), weights, scenario.difference) for one in (found, with_bootstrap))
    return ours, bootstrap


Found = dict[Scenario, Figures]


def right_or_wrong(counts: dict[int, Counts]) -> Found:
    """Return the exact figures of the whole grid; accuracies above 99 % are left out."""
    grid = (Scenario(*values) for values in itertools.product(ROWS, ACCURACIES, DIFFERENCES, ROW_SHARES))
    return {s: counts[s.n].figures(*s.discordant) for s in grid if s.accuracy + s.difference <= 0.99}


def fractional(draws: int, rng_seed: int) -> tuple[Found, Found]:
    """Return the estimated figures of the smaller grid, and with a bootstrap's interval.

    Each scenario has a random stream of its own; accuracies above 99 % are left out.
    """
    places = itertools.product(KINDS, FRACTIONAL_ROWS, FRACTIONAL_ACCURACIES, FRACTIONAL_DIFFERENCES)
    grid = [Scenario(n, accuracy, gap, FRACTIONAL_ROW_SHARE, kind) for kind, n, accuracy, gap in places]
    grid = [s for s in grid if s.accuracy_where_it_differs <= 0.99]
    both = {s: simulate(s, draws, np.random.default_rng([rng_seed, i])) for i, s in enumerate(grid)}
    return {s: ours for s, (ours, _) in both.items()}, {s: bootstrap for s, (_, bootstrap) in both.items()}


def percent(share: float) -> str:
    """Return a share with one decimal, without the sign."""
    return f"{100 * share:.1f}"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines)) + "\n"


def mean(cells: Sequence[Figures]) -> Figures:
    """Average figures over scenarios."""
    return Figures(*(float(np.mean([getattr(c, field.name) for c in cells])) for field in fields(Figures)))


def trust_line(cells: Found) -> list[str]:
    """Return coverage and errors of some scenarios, on average and (in brackets) where they are worst."""
    everywhere, equal = list(cells.values()), [f for s, f in cells.items() if s.difference == 0]
    every, null = mean(everywhere), mean(equal)
    quiet = [1 - f.better - f.worse for f in equal]
    return [
        f"{percent(every.covered)} ({percent(min(f.covered for f in everywhere))})",
        f"{percent(null.better)} ({percent(max(f.better for f in equal))})",
        f"{percent(null.worse)} ({percent(max(f.worse for f in equal))})",
        f"{percent(float(np.mean(quiet)))} ({percent(min(quiet))})",
        f"{percent(every.interval_alone)} ({percent(max(f.interval_alone for f in everywhere))})",
        f"{percent(every.p_alone)} ({percent(max(f.p_alone for f in everywhere))})",
        percent(max(f.contradicted for f in everywhere)),
    ]


TRUST_HEAD = (
    "interval holds the truth",
    "falsely better",
    "falsely worse",
    "no significant gain",
    "interval alone",
    "p alone",
    "contradicted",
)


def trust_table(found: Found) -> str:
    """Return coverage, errors at no difference and disagreement, one line for each kind and number of rows."""
    places = list(dict.fromkeys((s.kind, s.n) for s in found))
    lines = [
        [kind, str(n), *trust_line({s: f for s, f in found.items() if (s.kind, s.n) == (kind, n)})]
        for kind, n in places
    ]
    return table(("scores", "n", *TRUST_HEAD), lines)


def bootstrap_table(ours: Found, bootstrap: Found) -> str:
    """Return coverage and width of both intervals of fractional scores."""
    lines = []
    for kind, n in dict.fromkeys((s.kind, s.n) for s in ours):
        cells = [[f for s, f in found.items() if (s.kind, s.n) == (kind, n)] for found in (ours, bootstrap)]
        covered = [f"{percent(mean(c).covered)} ({percent(min(f.covered for f in c))})" for c in cells]
        widths, alone = [percent(mean(c).width) for c in cells], percent(mean(cells[1]).interval_alone)
        lines.append([kind, str(n), *covered, *widths, alone])
    head = ("holds the truth", "bootstrap holds it", "width, points", "bootstrap's width", "bootstrap alone")
    return table(("scores", "n", *head), lines)


def power_table(found: Found) -> str:
    """Return how often a true gain is called better: lowest to highest over accuracies and row shares."""
    gains = DIFFERENCES[1:]
    lines = []
    for n in ROWS:
        cells = [[f for s, f in found.items() if (s.n, s.difference) == (n, gain)] for gain in gains]
        lines.append([str(n), *(_power(c) for c in cells), *(_shown(c) for c in cells[1:3])])
    head = [f"+{100 * gain:.0f}" for gain in gains]
    return table(("n", *head, "shown if better, +5", "shown if better, +10"), lines)


def _power(cells: Sequence[Figures]) -> str:
    return f"{100 * min(f.better for f in cells):.0f} to {100 * max(f.better for f in cells):.0f}"


def _shown(cells: Sequence[Figures]) -> str:
    """Average over all runs called better, so that cells in which hardly any is do not count."""
    weights = np.array([f.better for f in cells])
    return f"{100 * np.average([f.shown_if_better for f in cells], weights=weights):+.1f}"


def power_at(counts: Counts, difference: float, discordance: float) -> float:
    """Return the exact power for a gain; prompts that differ by so much disagree on at least as many rows."""
    spread = max(discordance, difference)
    return counts.figures((spread + difference) / 2, (spread - difference) / 2).better


def needed_for_80_percent(counts: Counts, discordance: float) -> float:
    """Return the smallest gain (0..1) that is called better in 80 % of runs."""
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if power_at(counts, middle, discordance) >= 0.8 else (middle, high)
    return high


def detectable_table(counts: dict[int, Counts]) -> str:
    """Return ``detectable_difference`` beside the gain that has a power of 80 %."""
    lines = []
    for n, discordance in itertools.product(ROWS, DISCORDANCES):
        said = detectable_difference(n, discordance)
        exact, power = needed_for_80_percent(counts[n], discordance), power_at(counts[n], said, discordance)
        lines.append([str(n), percent(discordance), percent(said), percent(exact), percent(power)])
    return table(("n", "rows that differ, %", "`detectable_difference`", "exact, 80 %", "power at the first, %"), lines)


def problems(found: Found, draws: int | None = None) -> str:
    """List where coverage is below 94 % or more than 5 % of equal prompts get a verdict.

    Estimates from ``draws`` count only beyond three standard errors, as a grid of them is looked through.
    """
    slack = 3 / math.sqrt(draws) if draws else 0.0
    lines = []
    for s, f in found.items():
        if f.covered < 0.94 - slack * math.sqrt(0.94 * 0.06):
            lines.append(f"- {s.name}: the interval holds the truth in {percent(f.covered)} %")
        if s.difference == 0 and f.better + f.worse > 0.05 + slack * math.sqrt(0.05 * 0.95):
            lines.append(f"- {s.name}: {percent(f.better + f.worse)} % called better or worse")
    return "\n".join([*(lines or ["- none"]), ""])


def report(exact: Found, drawn: Found, bootstrap: Found, counts: dict[int, Counts], draws: int) -> str:
    """Return all tables with what they show."""
    bias = max(abs(f.bias) for f in exact.values())
    drawn_bias = float(np.mean([f.bias for f in drawn.values()]))
    return "\n".join(
        [
            "In percent: mean over all accuracies, gains and row shares, and in brackets the worst of them. The "
            "middle three are for two equally good prompts. *Interval alone*: it leaves zero out, but p is not below "
            "0.05; *p alone*: the other way round; both become *no significant gain*. *Contradicted*: a *better* or "
            "*worse* that lacks one of the two.\n",
            trust_table(exact),
            f"The reported difference is off by at most {percent(bias)} points on average. Fractional scores, "
            f"{draws} draws for each of {len(drawn)} scenarios (mean bias {100 * drawn_bias:+.2f} points):\n",
            trust_table(drawn),
            f"*Seldom*: only {100 * SELDOM:.0f} % of rows can differ, and all of the gain lies on them. The same "
            "intervals beside a percentile bootstrap of the same scores; *bootstrap alone*: it leaves zero out, but "
            "the p-value of the sign-flip test is not below 0.05:\n",
            bootstrap_table(drawn, bootstrap),
            "Scenarios with a coverage below 94 % or verdicts on more than 5 % of equal prompts, right/wrong scores:\n",
            problems(exact),
            "and fractional scores, beyond three standard errors:\n",
            problems(drawn, draws),
            "How often a true gain of so many points is called *better* (%, lowest to highest over accuracies and row "
            "shares), and the mean gain that is shown when it is: with few rows only lucky tests get that far.\n",
            power_table(exact),
            "The power note against the truth, in points:\n",
            detectable_table(counts),
        ]
    )


def main() -> None:
    """Parse the command line, compute, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=500, help="of each scenario with fractional scores")
    parser.add_argument("--rng-seed", type=int, default=0)
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="document whose verdict part is replaced")
    options = parser.parse_args()
    started = time.monotonic()
    counts = {n: Counts(n) for n in ROWS}
    drawn, bootstrap = fractional(options.draws, options.rng_seed)
    text = report(right_or_wrong(counts), drawn, bootstrap, counts, options.draws)
    made = (
        f"Made on {date.today()} by `python benchmarks/verdict.py --draws {options.draws} --rng-seed "
        f"{options.rng_seed}` in {time.monotonic() - started:.0f} s; {platform.machine()}, "
        f"Python {platform.python_version()}, NumPy {np.__version__}.\n"
    )
    print(made, text, sep="\n")
    if options.write:
        write_between(options.write, "verdict", f"{made}\n{text}")


if __name__ == "__main__":
    main()
