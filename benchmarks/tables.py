"""How long a large CSV file takes to become a project's rows, and how much memory: python benchmarks/tables.py

Writes a CSV of random sentences, then reads, checks and divides it in a process of its own, and beside it, in the same
run, lets pandas and pyarrow read the same file. Each figure is the median of the repetitions; memory is the peak of the
whole process, the interpreter and its packages included. It ends with exit code 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TARGET_SECONDS, TARGET_MB = 5.0, 500.0
WORDS = 15
LABELS = 77

PART = """
import json, resource, sys, time
path = sys.argv[1]
{setup}
started, cpu = time.perf_counter(), time.process_time()
{work}
took, cpu = time.perf_counter() - started, time.process_time() - cpu
print(json.dumps([took, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, {result}]))
"""
OURS = PART.format(
    setup="""
from mipro_walk.project.answers import Rules
from mipro_walk.project.checks import check_rows
from mipro_walk.project.splitting import split_rows
from mipro_walk.project.tables import read_table
""",
    work="""
table = read_table(path)
read = time.perf_counter() - started
rules = Rules("classification", ("text",), "label")
checked = check_rows(table, rules)
checks = time.perf_counter() - started - read
splits = split_rows(checked.rows, rules, shares={"train": 0.4, "val": 0.3, "test": 0.3}, rng_seed=0)
""",
    result="[read, checks, sum(map(len, splits.rows.values())) + len(checked.dropped)]",
)
OTHERS = {
    "pandas.read_csv": PART.format(setup="import pandas", work="rows = pandas.read_csv(path)", result="len(rows)"),
    "pyarrow.csv.read_csv, to_pylist": PART.format(
        setup="import pyarrow.csv", work="rows = pyarrow.csv.read_csv(path).to_pylist()", result="len(rows)"
    ),
    "csv.DictReader": PART.format(
        setup="import csv",
        work="rows = list(csv.DictReader(open(path, encoding='utf-8', newline='')))",
        result="len(rows)",
    ),
}


def write_table(path: Path, rows: int) -> None:
    """Write ``rows`` random sentences with one of 77 labels."""
    rng = random.Random(0)
    words = [f"word{number}" for number in range(5000)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([" ".join(rng.choices(words, k=WORDS)), f"label {rng.randrange(LABELS)}"] for _ in range(rows))


def measure(code: str, path: Path, repeats: int) -> tuple[float, float, float, object]:
    """Return the medians of seconds, CPU seconds and peak MB of ``repeats`` processes, and the last one's result."""
    runs = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
    seconds, cpu, peak = (statistics.median(run[figure] for run in runs) for figure in range(3))
    return seconds, cpu, peak, runs[-1][3]


def main() -> int:
    """Print the table and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        write_table(path, arguments.rows)
        seconds, cpu, peak, (read, checks, total) = measure(OURS, path, arguments.repeats)  # type: ignore[misc]
        assert total == arguments.rows, "every row is used or dropped"
        print(f"{arguments.rows:,} rows, {path.stat().st_size / 1e6:.0f} MB, median of {arguments.repeats}\n")
        print("| | wall | CPU | peak memory |\n| --- | --- | --- | --- |")
        print(f"| read, check and divide | **{seconds:.2f} s** | {cpu:.2f} s | **{peak:.0f} MB** |")
        print(f"| of it reading, checking (last run) | {read:.2f} s, {checks:.2f} s | | |")
        for name, code in OTHERS.items():
            other, other_cpu, other_peak, rows = measure(code, path, arguments.repeats)
            assert rows == arguments.rows
            print(f"| {name} | {other:.2f} s | {other_cpu:.2f} s | {other_peak:.0f} MB |")
            print(f"| × ours | {seconds / other:.1f} | {cpu / other_cpu:.1f} | {peak / other_peak:.1f} |")
    return 0 if seconds <= TARGET_SECONDS and peak <= TARGET_MB else 1


if __name__ == "__main__":
    sys.exit(main())
