"""Whether the score and the verdict at the end of a run can be believed: whole searches, then the final test.

    python benchmarks/honest_score.py [--seeds 200] [--calls 300] [--test-rows 130] [--write docs/search.md]

On simulated landscapes with a known truth: how often each verdict is given, how far the reported score is from the
truth on average, and how often the 95 % interval holds the true difference. Beside it what the search itself would have
reported (the pooled estimate) and what DSPy light reports, the best of its full evaluations.
"""

from __future__ import annotations

import argparse
import platform
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
from documents import with_error, write_between
from landscapes import FAMILIES, Landscape
from schedules import dspy, ours

from mipro_walk.core.statistics import compare_paired

SIZE = (12, 8)
BASELINE = (0, 0)


@dataclass(frozen=True)
class Honesty:
    """One search and its test. Errors are reported minus true, in accuracy."""

    verdict: str
    score_error: float
    is_covered: bool
    search_error: float
    dspy_error: float


def run(family: int, seed: int, calls: int, test_rows: int) -> Honesty:
    """Search one landscape, test the winner against the start."""
    landscape = Landscape(FAMILIES[family], *SIZE, seed)
    pick = ours("tpe")(landscape, calls, seed, [])
    comparison = compare_paired(list(landscape.test(BASELINE, test_rows)), list(landscape.test(pick.key, test_rows)))
    truth = float(landscape.truth[pick.key])
    difference = truth - float(landscape.truth[BASELINE])
    peer = dspy("light")(landscape, calls, seed, [])
    return Honesty(
        comparison.verdict,
        comparison.candidate - truth,
        comparison.low <= difference <= comparison.high,
        pick.reported - truth,
        peer.reported - float(landscape.truth[peer.key]),
    )


def table(found: dict[str, Sequence[Honesty]]) -> str:
    """Return one line for each family of landscapes."""
    lines = [
        "| landscape | better | no significant gain | worse | reported score − truth | interval holds the truth | "
        "pooled estimate − truth | DSPy light's score − truth |",
        "| --- |" + " --- |" * 7,
    ]
    for name, runs in found.items():
        verdicts = Counter(r.verdict for r in runs)
        shares = [f"{100 * verdicts[v] / len(runs):.1f} %" for v in ("better", "no significant gain", "worse")]
        covered = 100 * np.mean([r.is_covered for r in runs])
        errors = [with_error([getattr(r, f) for r in runs], "+") for f in ("score_error", "search_error", "dspy_error")]
        cells = [*shares, errors[0], f"{covered:.1f} %", *errors[1:]]
        lines.append(f"| {name} {SIZE[0]}×{SIZE[1]} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--test-rows", type=int, default=130)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--write", type=Path, help="document whose <!-- honest_score --> part is replaced")
    options = parser.parse_args()
    one = partial(run, calls=options.calls, test_rows=options.test_rows)
    found: dict[str, Sequence[Honesty]] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        for number, family in enumerate(FAMILIES):
            seeds = range(options.seeds)
            found[family.name] = list(pool.map(one, [number] * len(seeds), seeds, chunksize=8))
    text = (
        f"Made on {date.today()} by `python benchmarks/honest_score.py` ({options.seeds} seeds, {options.calls} calls "
        f"to search, {options.test_rows} test rows); {platform.machine()}, Python {platform.python_version()}.\n\n"
    ) + table(found)
    print(text)
    if options.write:
        write_between(options.write, "honest_score", text)


if __name__ == "__main__":
    main()
