"""Wall time of a whole run beside DSPy's MIPROv2 light, for about the same number of calls.

    python benchmarks/wall_time.py --peer-python dspy-venv/bin/python [--latency 0.2] [--concurrent 16] [--runs 3]

Both ask the same simulated endpoint (its own process) about the same rows, with the same number of calls at once. A
row call takes the latency; the meta-model answers at once and is counted apart, because how many instructions are
written and how long they are says nothing about how well calls are run beside each other. DSPy goes first; our budget
and final test together are as many calls as it made. The ideal is ``calls x latency / concurrency``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from statistics import median
from typing import Any

from our_run import Finished, Size, run_ours
from peer import add_peer_option, require_peer
from peer_endpoint import Landscape, running_endpoint, sample_truth
from peer_runs import run_dspy
from rich.console import Console
from rich.table import Table

from task_apps.banking77.prompts import BASELINE_INSTRUCTION

IDEAL_RATIO, PEER_SHARE = 1.25, 0.5
TRAIN, VAL = 300, 150
TEST_SHARE = 6
"""The final test is twice one sixth of the calls: a third of a run that is sized for a benchmark."""
LIMIT_SECONDS = 600.0


@dataclass(frozen=True)
class Timed:
    """One run and what the endpoint counted meanwhile."""

    finished: Finished
    counts: dict[str, Any]

    def ideal(self, latency: float, concurrent: int) -> float:
        """Return the seconds that its row calls take at least."""
        return float(self.counts["policy"] * latency / concurrent)


def time_pair(python: str, seed: int, options: argparse.Namespace) -> tuple[Timed, Timed]:
    """Run DSPy, then ours with as many calls, on the landscape of ``seed``; return (ours, dspy)."""
    landscape = Landscape(seed, sample_truth(), BASELINE_INSTRUCTION)
    with running_endpoint(seed, BASELINE_INSTRUCTION, options.latency) as endpoint:
        dspy = run_dspy(python, endpoint, landscape, TRAIN, VAL, options.concurrent, LIMIT_SECONDS)
        theirs = Timed(dspy, endpoint.counts())
    calls = theirs.counts["policy"]
    test = calls // TEST_SHARE
    size = Size(calls - 2 * test, test, options.iterations, options.concurrent, TRAIN, VAL, seed)
    with running_endpoint(seed, BASELINE_INSTRUCTION, options.latency) as endpoint:
        ours = Timed(run_ours(endpoint, landscape, size, LIMIT_SECONDS), endpoint.counts())
    return ours, theirs


def show(pairs: list[tuple[Timed, Timed]], latency: float, concurrent: int) -> None:
    """Print each run, the medians of the ratios, and whether the goals are met."""
    columns = ("seed", "", "row calls", "meta calls", "most at once", "ideal s", "wall s", "x ideal", "accuracy")
    table = Table(*columns)
    for seed, pair in enumerate(pairs):
        for name, run in zip(("ours", "DSPy light"), pair, strict=True):
            ideal = run.ideal(latency, concurrent)
            counts = (str(run.counts[key]) for key in ("policy", "meta", "peak"))
            seconds = run.finished.seconds
            figures = (f"{ideal:.1f}", f"{seconds:.1f}", f"{seconds / ideal:.2f}")
            accuracy = run.finished.accuracy
            table.add_row(
                str(seed), name, *counts, *figures, run.finished.ended if accuracy is None else f"{accuracy:.1%}"
            )
    console = Console(width=130)
    console.print(table)
    ratio, theirs = (median(p[i].finished.seconds / p[i].ideal(latency, concurrent) for p in pairs) for i in (0, 1))
    # By call, because the two never make exactly as many.
    verdict = "within" if ratio <= IDEAL_RATIO else "ABOVE"
    console.print(f"Ours takes {ratio:.2f} x the ideal time ({verdict} the goal of {IDEAL_RATIO:g}).")
    verdict = "within" if ratio / theirs <= PEER_SHARE else "ABOVE"
    console.print(f"Per call that is {ratio / theirs:.2f} of DSPy light ({verdict} the goal of {PEER_SHARE:g}).")


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_peer_option(parser)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds of a row call (default: %(default)s)")
    parser.add_argument("--concurrent", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=10, help="trials of ours (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="landscapes (default: %(default)s)")
    options = parser.parse_args()
    require_peer(options.peer_python)
    pairs = [time_pair(options.peer_python, seed, options) for seed in range(options.runs)]
    show(pairs, options.latency, options.concurrent)


if __name__ == "__main__":
    main()
