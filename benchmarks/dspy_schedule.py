"""The schedule of DSPy's MIPROv2 as the real package runs it, beside what our simulation of it assumes.

    python benchmarks/dspy_schedule.py --peer-python dspy-venv/bin/python [--modes light medium heavy] [--json]

Runs the package on the shipped sample against the simulated model inside its own process (no HTTP, no latency) and
writes down every evaluation and every trial of its study. Ends with exit code 1 if a figure is not the assumed one.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict, dataclass
from typing import Any

from peer import add_peer_option, peer_task, require_peer, run_peer, sample_slice
from rich.console import Console
from rich.table import Table

MODES = ("light", "medium", "heavy")
CANDIDATES = {"light": 6, "medium": 12, "heavy": 18}
VAL_ROWS = {"light": 100, "medium": 300, "heavy": 1000}
MINIBATCH, FULL_EVERY, STARTUP_TRIALS = 35, 5, 10
LIMIT_SECONDS = 900.0
TRAIN_ROWS = 300


@dataclass(frozen=True)
class Schedule:
    """One run in figures.

    Attributes:
        instructions: candidates, the default one included.
        demo_sets: candidates, the empty one included.
        full_after: after how many minibatch trials each full evaluation came; the default program's comes after 0.
        random_trials: minibatch trials asked for while the study held fewer than the sampler's start-up trials; full
            evaluations count as trials there.
        calls: row calls of all evaluations.
        returns_best_full: whether the returned program is the first with the best full score.
    """

    instructions: int
    demo_sets: int
    trials: int
    minibatch: int
    val_rows: int
    full_after: tuple[int, ...]
    random_trials: int
    calls: int
    returns_best_full: bool


def assumed(mode: str) -> Schedule:
    """Return the schedule as published: Opsahl-Ong et al. 2024, arXiv:2406.11695, and the package's source."""
    n, val_rows = CANDIDATES[mode], VAL_ROWS[mode]
    trials = int(max(2 * 2 * math.log2(n), 1.5 * n))
    full_after = tuple(sorted({*range(0, trials + 1, FULL_EVERY), trials}))
    before = [trial + sum(after < trial for after in full_after) for trial in range(1, trials + 1)]
    return Schedule(
        instructions=n // 2,
        demo_sets=n,
        trials=trials,
        minibatch=MINIBATCH,
        val_rows=val_rows,
        full_after=full_after,
        random_trials=sum(known - 1 < STARTUP_TRIALS for known in before),
        calls=trials * MINIBATCH + len(full_after) * val_rows,
        returns_best_full=True,
    )


def measured(report: dict[str, Any]) -> Schedule:
    """Return the schedule that a run followed."""
    evaluations, trials = report["evaluations"], report["trials"]
    sizes = trials[0]["sizes"]
    full = [e for e in evaluations if e["full"]]
    best = max(full, key=lambda e: e["score"])  # the first of equals
    startup = report["sampler"]["n_startup_trials"]
    return Schedule(
        instructions=sizes[0],
        demo_sets=sizes[1],
        trials=len(evaluations) - len(full),
        minibatch=next(e["rows"] for e in evaluations if not e["full"]),
        val_rows=full[0]["rows"],
        full_after=tuple(sum(not e["full"] for e in evaluations[:i]) for i, e in enumerate(evaluations) if e["full"]),
        random_trials=sum(not e["full"] and index < startup for index, e in enumerate(evaluations)),
        calls=report["calls"]["evaluation"],
        returns_best_full=(best["score"], best["instruction"], best["demos"])
        == (report["score"], report["instruction"], len(report["demos"])),
    )


def run(python: str, mode: str, seed: int) -> dict[str, Any]:
    """Run one mode and return its report."""
    task = peer_task(
        sample_slice(),
        TRAIN_ROWS,
        VAL_ROWS[mode],
        val_split="test",  # the only split of the sample with 1,000 rows
        mode=mode,
        threads=1,
        seed=seed,
        base_url=None,
        landscape_seed=seed,
    )
    report = run_peer(python, task, LIMIT_SECONDS)
    if report is None or "error" in report:
        raise SystemExit(f"DSPy {mode} did not end: {(report or {}).get('error', 'time ran out')}")
    return report


def show(found: dict[str, Schedule], reports: dict[str, dict[str, Any]]) -> None:
    """Print a table of the runs."""
    report = next(iter(reports.values()))
    table = Table("", *found)
    for name in asdict(next(iter(found.values()))):
        table.add_row(name.replace("_", " "), *(str(getattr(schedule, name)) for schedule in found.values()))
    table.add_row("bootstrap calls", *(str(r["calls"]["bootstrap"]) for r in reports.values()))
    table.add_row("meta calls", *(str(r["calls"]["meta"]) for r in reports.values()))
    table.add_row("repeated combinations", *(str(repeated(r)) for r in reports.values()))
    console = Console()
    console.print(table)
    console.print(f"{report['versions']}, sampler {report['sampler']}", soft_wrap=True)


def repeated(report: dict[str, Any]) -> int:
    """Return how many minibatch trials asked again for a combination that an earlier one had."""
    keys = [tuple(t["params"]) for t, e in zip(report["trials"], report["evaluations"], strict=True) if not e["full"]]
    return len(keys) - len(set(keys))


def main() -> None:
    """Read the options, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_peer_option(parser)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--seed", type=int, default=9, help="DSPy's default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    require_peer(options.peer_python)
    reports = {mode: run(options.peer_python, mode, options.seed) for mode in options.modes}
    found = {mode: measured(report) for mode, report in reports.items()}
    if options.json:
        first = next(iter(reports.values()))
        modes = {mode: asdict(schedule) for mode, schedule in found.items()}
        print(json.dumps({"versions": first["versions"], "sampler": first["sampler"], "modes": modes}, indent=2))
    else:
        show(found, reports)
    wrong = [mode for mode, schedule in found.items() if schedule != assumed(mode)]
    for mode in wrong:
        print(f"{mode} is not as assumed: {assumed(mode)}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
