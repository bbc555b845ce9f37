"""What faults of the model endpoint do to a run: ours beside DSPy's MIPROv2 light.

    python benchmarks/faults.py --peer-python dspy-venv/bin/python [--only ours] [--limit 180]

The same small run again and again on one simulated landscape: undisturbed, with a share of calls that answer 500, and
with outages in which every call answers 429. Reported per run: wall time relative to the undisturbed one, rows that
failed for good (lost: left out, counted; spoiled: scored as wrong), and whether the same prompt came out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from our_run import Finished, Size, run_ours
from peer import add_peer_option, require_peer
from peer_endpoint import Endpoint, Faults, Landscape, running_endpoint, sample_truth
from peer_runs import run_dspy
from rich.console import Console
from rich.table import Table

from task_apps.banking77.prompts import BASELINE_INSTRUCTION

SEED = 0
LATENCY, CONCURRENT = 0.1, 8
TRAIN, VAL = 60, 60
SIZE = Size(budget=260, test_size=60, iterations=6, concurrent=CONCURRENT, train=TRAIN, val=VAL, seed=SEED)
OUTAGE_AT = 150
"""The row call with which an outage begins: in the middle of the search."""
DISTURBED: Mapping[str, Faults] = {
    "none": Faults(),
    "10 % answer 500": Faults(share=0.1),
    "30 % answer 500": Faults(share=0.3),
    "429 for 5 s": Faults(outages=((OUTAGE_AT, 5.0),)),
    "429 for 20 s": Faults(outages=((OUTAGE_AT, 20.0),)),
    "429 for 20 s, Retry-After": Faults(outages=((OUTAGE_AT, 20.0),), retry_after=True),
}
Run = Callable[[Endpoint], Finished]


def programs(python: str, limit_seconds: float) -> dict[str, Run]:
    """Return what is compared, by name."""
    landscape = Landscape(SEED, sample_truth(), BASELINE_INSTRUCTION)
    return {
        "ours": lambda endpoint: run_ours(endpoint, landscape, SIZE, limit_seconds),
        "DSPy": lambda endpoint: run_dspy(python, endpoint, landscape, TRAIN, VAL, CONCURRENT, limit_seconds),
    }


def outcome(run: Finished, clean: Finished) -> str:
    """Say how a run ended, in the words of the table."""
    if run.ended != "done":
        return f"{run.ended} {run.note}".strip()[:60]
    return "same prompt" if run.prompt == clean.prompt else f"other prompt, {run.accuracy:.1%}"


def measure(name: str, run: Run, faults: Mapping[str, Faults], table: Table) -> None:
    """Run one program under every fault and add its rows to the table."""
    clean: Finished | None = None
    for fault, settings in faults.items():
        with running_endpoint(SEED, BASELINE_INSTRUCTION, LATENCY, settings) as endpoint:
            finished = run(endpoint)
            counts = endpoint.counts()
        clean = clean or finished
        ratio = f"{finished.seconds / clean.seconds:.1f}" if finished.ended == "done" else "-"
        failed = f"{counts['failed_500']} / {counts['failed_429']}"
        row = (
            f"{finished.seconds:.1f}",
            ratio,
            str(counts["policy"]),
            failed,
            str(finished.lost),
            str(finished.spoiled),
        )
        table.add_row(name, fault, *row, outcome(finished, clean))


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_peer_option(parser)
    parser.add_argument("--only", choices=("ours", "DSPy"))
    parser.add_argument("--limit", type=float, default=180.0, help="seconds after which a run is stopped")
    options = parser.parse_args()
    if options.only != "ours":
        require_peer(options.peer_python)
    table = Table("", "fault", "wall s", "x clean", "answered", "500 / 429", "lost", "spoiled", "outcome")
    for name, run in programs(options.peer_python, options.limit).items():
        if options.only in (None, name):
            measure(name, run, DISTURBED, table)
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
