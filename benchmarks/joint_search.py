"""How good a program of two stages each way of searching finds for its calls, on simulated programs of known truth.

    python benchmarks/joint_search.py [--seeds 100] [--jobs 2] [--quick] [--write docs/search.md]

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

CALLS = (300, 650, 2130)
SIZES = ((6, 4, 6, 4), (12, 8, 12, 8))
JOINT = "joint"
WAYS: dict[str, Schedule] = {
    JOINT: ours("tpe"),
    "joint, random sampler": ours("random"),
    "joint, multivariate TPE": ours("tpe_multivariate"),
    "stage after stage": stage_after_stage,
    "halving": halving,
    "random": random_search,
}


@dataclass(frozen=True)
class Place:
    """What a line of a table stands for."""

    calls: int
    family: str
    size: tuple[int, ...]

    @property
    def name(self) -> str:
        """The landscape in words."""
        return f"{self.family} {'×'.join(map(str, self.size))}"


@dataclass(frozen=True)
class Result:
    """One way on one program, in accuracy."""

    regret: float
    gain: float
    bias: float
    calls: int


Found = dict[Place, dict[str, list[Result]]]
"""Results of each way, in the order of the seeds."""


def run_program(family_index: int, size: tuple[int, int, int, int], seed: int, calls: int) -> dict[str, Result]:
    """Run every way on one program."""
    results = {}
    for name, way in WAYS.items():
        program = Program(PROGRAM_FAMILIES[family_index], size, seed)
        pick = way(program, calls, seed, [])
        bias = pick.reported - float(program.truth[pick.key])
        results[name] = Result(program.regret(pick.key), program.gain(pick.key), bias, program.calls)
    return results


def tables(found: Found) -> str:
    """Return regret, gain, bias and calls of every way, and how it compares with the joint search."""
    bias_and_calls = [
        _row("mean bias", [with_error(_values(found, way, "bias"), "+") for way in WAYS]),
        *(
            _row(f"mean calls of {calls:,}", [f"{np.mean(_values(found, way, 'calls', calls)):,.0f}" for way in WAYS])
            for calls in sorted({place.calls for place in found})
        ),
    ]
    means = [_row("mean", [with_error(_values(found, way, "regret")) for way in WAYS])]
    return "\n".join(
        [
            "**Regret**\n",
            *_lines(found, "regret"),
            *means,
            "\n**Gain over the start**\n",
            *_lines(found, "gain"),
            "\n**Bias and calls**\n",
            *_head(""),
            *bias_and_calls,
            "",
        ]
    )


def differences(found: Found) -> str:
    """Return the mean regret of each other way minus that of the joint search, program by program.

    Bold is what lies beyond two standard errors: above zero the joint search was better, below zero worse.
    """
    others = [way for way in WAYS if way != JOINT]
    lines = ["| calls, landscape | " + " | ".join(others) + " |", "| --- |" + " --- |" * len(others)]
    for place, by_way in found.items():
        cells = [_difference(_paired(by_way, way)) for way in others]
        lines.append(_row(f"{place.calls:,}, {place.name}", cells))
    everything = [list(itertools.chain(*(_paired(by_way, way) for by_way in found.values()))) for way in others]
    lines.append(_row("all", [_difference(values) for values in everything]))
    return "\n".join(["**Regret above that of the joint search**\n", *lines, ""])


def _paired(by_way: dict[str, list[Result]], way: str) -> list[float]:
    return [other.regret - joint.regret for other, joint in zip(by_way[way], by_way[JOINT], strict=True)]


def _difference(values: Sequence[float]) -> str:
    text = with_error(values, "+")
    return f"**{text}**" if abs(100 * np.mean(values)) > 2 * standard_error(values) else text


def _lines(found: Found, figure: str) -> list[str]:
    lines = _head("calls, landscape")
    for place, by_way in found.items():
        cells = [quartiles([getattr(result, figure) for result in by_way[way]]) for way in WAYS]
        lines.append(_row(f"{place.calls:,}, {place.name}", cells))
    return lines


def _head(first: str) -> list[str]:
    return [_row(first, list(WAYS)), "| --- |" + " --- |" * len(WAYS)]


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _values(found: Found, way: str, figure: str, calls: int | None = None) -> list[float]:
    chosen = [by_way[way] for place, by_way in found.items() if calls in (None, place.calls)]
    return [getattr(result, figure) for results in chosen for result in results]


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="300 calls, the smaller size and at most ten seeds only")
    parser.add_argument("--write", type=Path, help="document whose <!-- joint_search --> part is replaced")
    options = parser.parse_args()
    seeds = min(options.seeds, 10) if options.quick else options.seeds
    calls, sizes = (CALLS[:1], SIZES[:1]) if options.quick else (CALLS, SIZES)
    jobs = list(itertools.product(range(len(PROGRAM_FAMILIES)), sizes, range(seeds), calls))
    started = time.monotonic()
    found: Found = defaultdict(lambda: defaultdict(list))
    with ProcessPoolExecutor(options.jobs) as pool:
        ran = pool.map(run_program, *zip(*jobs, strict=True), chunksize=4)
        for (family, size, _, given), results in zip(jobs, ran, strict=True):
            for way, result in results.items():
                found[Place(given, PROGRAM_FAMILIES[family].name, size)][way].append(result)
    found = dict(sorted(found.items(), key=lambda item: item[0].calls))
    made = (
        f"Made on {date.today()} by `python benchmarks/joint_search.py --seeds {seeds}{' --quick' * options.quick}` in "
        f"{(time.monotonic() - started) / 60:.0f} minutes; {platform.machine()}, Python {platform.python_version()}; "
        f"seeds 0 to {seeds - 1}.\n"
    )
    text = "\n".join([made, differences(found), tables(found)])
    print(text)
    if options.write:
        write_between(options.write, "joint_search", text)


if __name__ == "__main__":
    main()
