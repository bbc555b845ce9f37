"""How long a suggestion takes at the end of a very large search: 10,000 trials over 200 × 100 candidates.

    python benchmarks/scale.py [--trials 10000]

Runs the real search on a simulated landscape whose rows cost nothing, and times what each new candidate costs: asking
the sampler (ask) and pooling what all rollouts say into the estimates that it is told (tell). CPU time of this process.
Prints a Markdown table with the peak memory.
"""

from __future__ import annotations

import argparse
import resource
import time
from statistics import median

import schedules
from landscapes import FAMILIES, Landscape
from optuna.study import Study

from mipro_walk.core import scoreboard

ROLLOUTS_PER_TRIAL = 8
"""So many that each of the five thousand candidates of the first rung can be scored on a row."""


class Clock:
    """Times the calls of a function."""

    def __init__(self, function) -> None:
        self._function = function
        self.calls: list[float] = []

    def __call__(self, *args, **kwargs):
        """Call the function; keep its seconds."""
        started = time.process_time()
        answer = self._function(*args, **kwargs)
        self.calls.append(time.process_time() - started)
        return answer


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    options = parser.parse_args()
    ask, tell = Clock(Study.ask), Clock(scoreboard.Scoreboard.estimates)
    Study.ask, scoreboard.Scoreboard.estimates = lambda *given: ask(*given), lambda board: tell(board)
    started = time.monotonic()
    landscape = Landscape(FAMILIES[0], 200, 100, seed=0)
    schedules.ROLLOUTS_PER_TRIAL = ROLLOUTS_PER_TRIAL
    pick = schedules.ours("tpe")(landscape, options.trials * ROLLOUTS_PER_TRIAL, 0, [])
    seconds = time.monotonic() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # An estimate that nothing has changed since is kept, and costs nothing.
    last = {"ask": ask.calls[-100:], "tell": [spent for spent in tell.calls if spent > 0.001][-100:]}
    shown = [f"{1000 * median(calls):.1f} ms, at most {1000 * max(calls):.1f} ms" for calls in last.values()]
    print("| | ask, median of the last 100 | tell, median of the last 100 | peak memory | wall time |")
    print("| --- | --- | --- | --- | --- |")
    print(
        f"| {options.trials:,} trials, {landscape.calls:,} rollouts | {' | '.join(shown)} | {memory:.0f} MB | "
        f"{seconds:.0f} s |"
    )
    print(f"\nRegret of the returned candidate: {100 * landscape.regret(pick.key):.1f} points.")


if __name__ == "__main__":
    main()
