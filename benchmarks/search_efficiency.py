"""How good a prompt each schedule finds for its calls, on simulated landscapes with a known truth.

    python benchmarks/search_efficiency.py [--seeds 50] [--jobs 2] [--quick] [--write docs/search.md]

Prints Markdown tables: regret (accuracy of the best candidate minus that of the returned one), bias (the score a
schedule reports minus the truth) and calls, as median and quartiles over seeds; every schedule sees the same landscapes
and rows.
``--write`` puts them between the markers of a document and draws the anytime curves beside it (needs matplotlib).
"""

from __future__ import annotations

import argparse
import platform
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from documents import quartiles, with_error, write_between
from landscapes import FAMILIES, SIZES, Landscape
from schedules import Schedule, Trace, demos_only, dspy, halving, ours, random_search

HEAVY_SHARE = 1191
"""15 % of the calls of DSPy heavy."""
CURVE_CALLS = 2130
CURVE_POINTS = np.unique(np.geomspace(20, CURVE_CALLS, 60).astype(int))

GROUPS: dict[int, dict[str, Schedule]] = {
    300: {"ours": ours("tpe"), "halving": halving, "random": random_search},
    650: {
        "ours": ours("tpe"),
        "ours, random sampler": ours("random"),
        "ours, joint TPE": ours("tpe_multivariate"),
        "halving": halving,
        "random": random_search,
        "demos only": demos_only,
        "DSPy light": dspy("light"),
        "DSPy light, random sampler": dspy("light", sampler="random"),
        "DSPy light, whole pool": dspy("light", whole_pool=True),
    },
    HEAVY_SHARE: {"ours": ours("tpe"), "halving": halving},
    2130: {
        "ours": ours("tpe"),
        "halving": halving,
        "random": random_search,
        "demos only": demos_only,
        "DSPy medium": dspy("medium"),
    },
    7945: {"DSPy heavy": dspy("heavy")},
}


@dataclass(frozen=True)
class Result:
    """One schedule on one landscape. ``curve``: true accuracy gained over the start at ``CURVE_POINTS``."""

    calls_given: int
    schedule: str
    family: str
    size: tuple[int, int]
    seed: int
    regret: float
    bias: float
    calls: int
    curve: tuple[float, ...]


def run_landscape(family_index: int, size: tuple[int, int], seed: int, groups: Sequence[int]) -> list[Result]:
    """Run every schedule of the groups on one landscape."""
    family, results = FAMILIES[family_index], []
    for calls in groups:
        for name, schedule in GROUPS[calls].items():
            landscape = Landscape(family, *size, seed)
            trace: Trace = []
            pick = schedule(landscape, calls, seed, trace)
            results.append(
                Result(
                    calls,
                    name,
                    family.name,
                    size,
                    seed,
                    landscape.regret(pick.key),
                    pick.reported - float(landscape.truth[pick.key]),
                    landscape.calls,
                    _curve(landscape, trace),
                )
            )
    return results


def _curve(landscape: Landscape, trace: Trace) -> tuple[float, ...]:
    gains, start = [], float(landscape.truth[0, 0])
    for calls in CURVE_POINTS:
        keys = [key for spent, key in trace if spent <= calls]
        gains.append(float(landscape.truth[keys[-1]]) - start if keys else 0.0)
    return tuple(gains)


def tables(results: Iterable[Result]) -> str:
    """Return a Markdown table for each number of calls: one line per landscape, one column per schedule."""
    found: dict[int, dict[tuple[str, tuple[int, int]], dict[str, list[Result]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for result in results:
        found[result.calls_given][(result.family, result.size)][result.schedule].append(result)
    return "\n".join(_table(calls, rows) for calls, rows in sorted(found.items()))


def _table(calls: int, rows: dict[tuple[str, tuple[int, int]], dict[str, list[Result]]]) -> str:
    names = list(next(iter(rows.values())))
    lines = [f"**{calls:,} calls**", "", "| landscape | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for (family, size), cells in rows.items():
        lines.append(
            f"| {family} {size[0]}×{size[1]} | "
            + " | ".join(quartiles([r.regret for r in cells[name]]) for name in names)
            + " |"
        )
    everything = {name: [r for cells in rows.values() for r in cells[name]] for name in names}
    lines.append("| mean regret, all but flat | " + " | ".join(_mean_regret(everything[name]) for name in names) + " |")
    lines.append(
        "| mean bias | " + " | ".join(with_error([r.bias for r in everything[name]], "+") for name in names) + " |"
    )
    lines.append(
        "| calls used | " + " | ".join(f"{np.mean([r.calls for r in everything[n]]):,.0f}" for n in names) + " |"
    )
    return "\n".join([*lines, ""])


def _mean_regret(results: Sequence[Result]) -> str:
    regrets = [r.regret for r in results if r.family != "flat"]
    return with_error(regrets) if regrets else "–"


def goals(results: Sequence[Result]) -> str:
    """Return the goals set for the search and whether this run reached them, landscape by landscape."""
    mean: dict[tuple[int, str, str, tuple[int, int]], tuple[float, float]] = {}
    grouped: dict[tuple[int, str, str, tuple[int, int]], list[float]] = defaultdict(list)
    for r in results:
        grouped[(r.calls_given, r.schedule, r.family, r.size)].append(100 * r.regret)
    for place, regrets in grouped.items():
        mean[place] = float(np.mean(regrets)), float(np.std(regrets, ddof=1) / len(regrets) ** 0.5)
    lines = ["| goal | reached on | missed on |", "| --- | --- | --- |"]
    checks = [
        (f"not worse than {other} at {calls:,} calls", (calls, "ours"), (calls, other), 1.0)
        for calls, schedules in sorted(GROUPS.items())
        for other in ("halving", "random")
        if {"ours", other} <= schedules.keys()
    ]
    checks.append(("half of DSPy light's regret at its calls", (650, "ours"), (650, "DSPy light"), 0.5))
    checks.append((f"DSPy heavy's regret with {HEAVY_SHARE:,} calls", (HEAVY_SHARE, "ours"), (7945, "DSPy heavy"), 1.0))
    for title, mine, theirs, factor in checks:
        reached, missed = [], []
        for family in FAMILIES:
            for size in SIZES:
                a, b = mean.get((*mine, family.name, size)), mean.get((*theirs, family.name, size))
                if family.name == "flat" or a is None or b is None:
                    continue
                # Means over seeds are noisy: a goal counts as missed beyond two standard errors of the difference.
                is_missed = a[0] - factor * b[0] > 2 * (a[1] ** 2 + (factor * b[1]) ** 2) ** 0.5
                name = f"{family.name} {size[0]}×{size[1]} ({a[0]:.1f} to {b[0]:.1f})"
                (missed if is_missed else reached).append(name)
        if reached or missed:
            lines.append(f"| {title} | {len(reached)}: {', '.join(reached)} | {', '.join(missed) or 'none'} |")
    return "\n".join([*lines, ""])


def plot(results: Sequence[Result], path: Path) -> None:
    """Draw the mean accuracy gained against calls, for the 40×30 landscapes."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "mipro-walk"
    shown = {"ours": 2130, "halving": 2130, "random": 2130, "DSPy light": 650, "DSPy medium": 2130}
    families = ("easy", "hard", "noisy rows")
    figure, axes = pyplot.subplots(1, len(families), figsize=(11, 3.6), layout="constrained")
    for axis, family in zip(axes, families, strict=True):
        for name, calls in shown.items():
            curves = [
                r.curve
                for r in results
                if (r.schedule, r.calls_given, r.family, r.size) == (name, calls, family, (40, 30))
            ]
            if curves:
                points = CURVE_POINTS[: np.searchsorted(CURVE_POINTS, calls, "right")]
                axis.plot(points, 100 * np.mean(curves, axis=0)[: len(points)], label=name)
        axis.set(title=f"{family}, 40×30", xlabel="policy calls", xscale="log")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("points above the start (truth, mean)")
    axes[-1].legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="650 calls and the two smaller sizes only")
    parser.add_argument("--write", type=Path, help="document whose <!-- search_efficiency --> part is replaced")
    options = parser.parse_args()
    groups = [650] if options.quick else sorted(GROUPS)
    sizes = SIZES[:2] if options.quick else SIZES
    jobs = [(f, s, seed, groups) for f in range(len(FAMILIES)) for s in sizes for seed in range(options.seeds)]
    started = time.monotonic()
    with ProcessPoolExecutor(options.jobs) as pool:
        found = [result for part in pool.map(run_landscape, *zip(*jobs, strict=True), chunksize=4) for result in part]
    minutes = (time.monotonic() - started) / 60
    made = (
        f"Made on {date.today()} by `python benchmarks/search_efficiency.py --seeds {options.seeds}` in "
        f"{minutes:.0f} minutes; {platform.machine()}, Python {platform.python_version()}; landscape seeds 0 to "
        f"{options.seeds - 1}.\n"
    )
    text = "\n".join([made, goals(found), tables(found)])
    print(text)
    if options.write:
        write_between(options.write, "search_efficiency", text)
        plot(found, options.write.with_name("search_efficiency.svg"))


if __name__ == "__main__":
    main()
