"""Cold start of the commands that a person types first, beside an empty Python.

    python benchmarks/startup.py [--runs 10]

Each run is a new process; the commands take turns, so that a busy moment of the machine meets all of them. CPU time is
user and system time, children included, as a median. `doctor` looks at a data folder of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

PYTHON = (sys.executable,)
OURS = (*PYTHON, "-m", "mipro_walk")
COMMANDS = {
    "python -c pass": (*PYTHON, "-c", "pass"),
    "mipro-walk --help": (*OURS, "--help"),
    "mipro-walk --version": (*OURS, "--version"),
    "mipro-walk doctor": (*OURS, "doctor"),
}
TARGETS_MS = {"mipro-walk --help": 500.0, "mipro-walk doctor": 3000.0}
FOUND_PROBLEMS = 3
"""Exit code of a doctor that finds something; it has done its work all the same."""


@dataclass
class Times:
    """Milliseconds of each run."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def measure(runs: int, folder: Path) -> dict[str, Times]:
    """Run every command ``runs`` times, after once unmeasured to fill the file cache."""
    environment = {**os.environ, "MIPRO_WALK_HOME": str(folder / "home"), "TERM": "dumb"}
    times = {name: Times() for name in COMMANDS}
    for number in range(runs + 1):
        for name, command in COMMANDS.items():
            wall, cpu = run_once(command, folder, environment)
            if number:
                times[name].wall.append(wall)
                times[name].cpu.append(cpu)
    return times


def run_once(command: Sequence[str], folder: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Return wall and CPU milliseconds of one process."""
    cpu, wall = children_cpu(), time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    wall, cpu = time.perf_counter() - wall, children_cpu() - cpu
    if done.returncode not in (0, FOUND_PROBLEMS):
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return 1000 * wall, 1000 * cpu


def children_cpu() -> float:
    """Return CPU seconds of all children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def show(times: dict[str, Times]) -> None:
    """Print the medians."""
    table = Table("command", "median ms", "fastest ms", "CPU ms", "target ms")
    for name, measured in times.items():
        target = TARGETS_MS.get(name)
        figures = (median(measured.wall), min(measured.wall), median(measured.cpu))
        table.add_row(name, *(f"{figure:.0f}" for figure in figures), "" if target is None else f"{target:.0f}")
    Console().print(table)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mipro-walk-startup-") as folder:
        show(measure(options.runs, Path(folder)))


if __name__ == "__main__":
    main()
