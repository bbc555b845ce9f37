"""How good a program of two stages each way of searching finds for its calls, on simulated programs of known truth.

    python benchmarks/joint_search.py [--seeds 40] [--jobs 2] [--quick] [--write docs/search.md]

Prints Markdown tables: regret (accuracy of the best program minus that of the returned one) and gain over the start, as
median and quartiles over seeds; bias (what a way reports of its program minus the truth); and, pair by pair on the same
programs and rows, the difference between the joint search and each other way.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from documents import quartiles, standard_error, with_error, write_between
from programs import PROGRAM_FAMILIES, Program
from schedules import Schedule, halving, ours, random_search, stage_after_stage

SIZE = (12, 8, 12, 8)
JOINT = "joint"
WAYS: dict[str, Schedule] = {
    JOINT: ours("tpe"),
    "joint, random sampler": ours("random"),
    "stage after stage": stage_after_stage,
    "halving": halving,
    "random": random_search,
}
GROUPS: dict[int, dict[str, Schedule]] = {
    300: WAYS,
    650: {**WAYS, "joint, multivariate TPE": ours("tpe_multivariate")},
    2130: WAYS,
}


@dataclass(frozen=True)
class Result:
    """One way on one program, in accuracy."""

    regret: float
    gain: float
    bias: float
    calls: int


Found = dict[str, dict[str, list[Result]]]
"""Results of each way on each family, in the order of the seeds."""


def run_program(family_index: int, seed: int, calls: int) -> dict[str, Result]:
    """Run every way on one program."""
    results = {}
    for name, way in GROUPS[calls].items():
        program = Program(PROGRAM_FAMILIES[family_index], SIZE, seed)
        pick = way(program, calls, seed, [])
        bias = pick.reported - float(program.truth[pick.key])
        results[name] = Result(program.regret(pick.key), program.gain(pick.key), bias, program.calls)
    return results


def tables(calls: int, found: Found) -> str:
    """Return how the ways compare for so many calls: one line per family and figure, one column per way.

    The difference is taken program by program. Bold is what lies beyond two standard errors.
    """
    ways = list(GROUPS[calls])
    lines = [f"**{calls:,} calls**", "", _row("", ways), "| --- |" + " --- |" * len(ways)]
    for figure in ("regret", "gain"):
        for family, by_way in found.items():
            cells = [quartiles([getattr(result, figure) for result in by_way[way]]) for way in ways]
            lines.append(_row(f"{figure}, {family}", cells))
    for family, by_way in found.items():
        lines.append(_row(f"regret above joint, {family}", [_difference(_above_joint(by_way, way)) for way in ways]))
    all_above = {way: [d for by_way in found.values() for d in _above_joint(by_way, way)] for way in ways}
    lines.append(_row("regret above joint, all", [_difference(all_above[way]) for way in ways]))
    everything = {way: [result for by_way in found.values() for result in by_way[way]] for way in ways}
    lines.append(_row("mean regret", [with_error([r.regret for r in everything[way]]) for way in ways]))
    lines.append(_row("mean bias", [with_error([r.bias for r in everything[way]], "+") for way in ways]))
    lines.append(_row("calls used", [f"{np.mean([r.calls for r in everything[way]]):,.0f}" for way in ways]))
    return "\n".join([*lines, ""])


def _above_joint(by_way: dict[str, list[Result]], way: str) -> list[float]:
    return [other.regret - joint.regret for other, joint in zip(by_way[way], by_way[JOINT], strict=True)]


def _difference(values: Sequence[float]) -> str:
    if not any(values):
        return "–"
    text = with_error(values, "+")
    return f"**{text}**" if abs(100 * np.mean(values)) > 2 * standard_error(values) else text


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="300 calls only")
    parser.add_argument("--write", type=Path, help="document whose <!-- joint_search --> part is replaced")
    options = parser.parse_args()
    groups = [300] if options.quick else sorted(GROUPS)
    jobs = list(itertools.product(range(len(PROGRAM_FAMILIES)), range(options.seeds), groups))
    started = time.monotonic()
    found: dict[int, Found] = {calls: {f.name: defaultdict(list) for f in PROGRAM_FAMILIES} for calls in groups}
    with ProcessPoolExecutor(options.jobs) as pool:
        ran = pool.map(run_program, *zip(*jobs, strict=True), chunksize=4)
        for (family, _, calls), results in zip(jobs, ran, strict=True):
            for way, result in results.items():
                found[calls][PROGRAM_FAMILIES[family].name][way].append(result)
    made = (
        f"Made on {date.today()} by `python benchmarks/joint_search.py --seeds {options.seeds}"
        f"{' --quick' * options.quick}` in {(time.monotonic() - started) / 60:.0f} minutes; {platform.machine()}, "
        f"Python {platform.python_version()}; programs of {'×'.join(map(str, SIZE))}, seeds 0 to {options.seeds - 1}.\n"
    )
    text = "\n".join([made, *(tables(calls, found[calls]) for calls in groups)])
    print(text)
    if options.write:
        write_between(options.write, "joint_search", text)


if __name__ == "__main__":
    main()
