"""How long a suggestion takes at the end of a very large search: 10,000 trials over 200 × 100 candidates.

    python benchmarks/scale.py [--trials 10000]

Runs the real search on a simulated landscape whose rows cost nothing, and times what each new candidate costs: asking
the
sampler (ask) and pooling the estimates that it is told (tell). Prints a Markdown table with the peak memory.
"""

from __future__ import annotations

import argparse
import resource
import time

import schedules
from landscapes import FAMILIES, Landscape

from mipro_walk.core import race, scoreboard

ROLLOUTS_PER_TRIAL = 8
"""So many that each of the five thousand candidates of the first rung can be scored on a row."""


class Clock:
    """Times the calls of a function."""

    def __init__(self, function) -> None:
        self._function = function
        self.calls: list[tuple[float, int]] = []

    def __call__(self, *args, **kwargs):
        """Call the function; keep seconds and the size of the answer."""
        started = time.process_time()
        answer = self._function(*args, **kwargs)
        self.calls.append((time.process_time() - started, len(answer)))
        return answer


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    options = parser.parse_args()
    ask, tell = Clock(race.suggest), Clock(scoreboard.pool)
    race.suggest, scoreboard.pool = ask, tell
    started = time.monotonic()
    landscape = Landscape(FAMILIES[0], 200, 100, seed=0)
    schedules.ROLLOUTS_PER_TRIAL = ROLLOUTS_PER_TRIAL
    pick = schedules.ours("tpe")(landscape, options.trials * ROLLOUTS_PER_TRIAL, 0, [])
    seconds = time.monotonic() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    asked = [1000 * spent / count for spent, count in ask.calls if count]
    print("| | ask, a suggestion | tell, a pooling | peak memory | wall time |")
    print("| --- | --- | --- | --- | --- |")
    print(
        f"| {options.trials:,} trials, {landscape.calls:,} rollouts | {max(asked):.1f} ms at most (by rung: "
        f"{', '.join(f'{a:.1f}' for a in asked)}) | {1000 * tell.calls[-1][0]:.1f} ms at the end | {memory:.0f} MB | "
        f"{seconds:.0f} s |"
    )
    print(f"\nRegret of the returned candidate: {100 * landscape.regret(pick.key):.1f} points.")


if __name__ == "__main__":
    main()
