"""How long a report takes to make and to open, with a thousand trials and of an ordinary run.

    python benchmarks/report.py [--runs 5] [--chromium PATH]

The large run is made by the optimizer itself on a simulated landscape: 1,000 trials, over 200 instructions, over 100
demonstration sets. Made: a new process, imports included. Opened: from the navigation to the load event, and to
the first frame after it, in headless Chromium; a new page each time. Medians; the most is in brackets.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.report.page import render_report
from mipro_walk.results import SCORE_HISTORY

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from tests.report.runs import finished_run  # noqa: E402

LARGE = OptimizerSettings(
    num_iterations=1000,
    budget=12_000,
    num_bootstrap_seeds=5,
    num_instructions_per_module=40,
    num_demo_sets=100,
    test_size=500,
)
TARGET_MS, TARGET_BYTES = 2000.0, 1_500_000
MAKE = "import json, sys; from mipro_walk.report.page import render_report; render_report(json.load(open(sys.argv[1])))"
FRAME = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"
LOAD = "() => performance.getEntriesByType('navigation')[0].loadEventEnd"


def made_ms(path: Path, runs: int) -> list[float]:
    """Return the wall milliseconds of new processes that make the report of the documents at ``path``."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", MAKE, str(path)], check=True)
        times.append((time.perf_counter() - start) * 1000)
    return times


def opened_ms(browser: Any, path: Path, runs: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds to the load event and to the first frame after it; the first opening is not counted."""
    loads, frames = [], []
    for number in range(runs + 1):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(path.as_uri())
        frame, load = page.evaluate(FRAME), page.evaluate(LOAD)
        page.close()
        if number:
            loads.append(load)
            frames.append(frame)
    return loads, frames


def shown(times: list[float]) -> str:
    """Return median and most."""
    return f"{median(times):,.0f} ({max(times):,.0f})"


def main() -> None:
    """Measure both reports and print a table."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    table = Table("run", "trials", "KB", "made, ms", "load event, ms", "first frame, ms", title="The report")
    ok = True
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        for name, settings, rows in (("ordinary", None, 60), ("large", LARGE, 500)):
            run = finished_run(settings, rows)
            documents, page = Path(folder) / f"{name}.json", Path(folder) / f"{name}.html"
            documents.write_text(json.dumps(run))
            page.write_text(render_report(run), encoding="utf-8")
            size, made = page.stat().st_size, made_ms(documents, options.runs)
            loads, frames = opened_ms(browser, page, options.runs)
            trials = str(len(run[SCORE_HISTORY]["iterations"]))
            table.add_row(name, trials, f"{size / 1000:,.0f}", shown(made), shown(loads), shown(frames))
            ok &= median(frames) < TARGET_MS and size < TARGET_BYTES
        browser.close()
    Console().print(table)
    Console().print(f"Targets: first frame below {TARGET_MS:,.0f} ms, at most {TARGET_BYTES / 1000:,.0f} KB.")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
