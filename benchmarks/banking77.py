"""Test accuracy on Banking77 with the local model: baseline, random search, demonstrations only, ours.

    python benchmarks/banking77.py --data PATH [--num-intents 10,77] [--methods baseline,random,demos,ours]
                                   [--rng-seeds 0-4] [--out FILE.jsonl]
    python benchmarks/banking77.py --table [--out FILE.jsonl] [--into docs/results.md]

Every run is the profile quick-local with its default budget, in process: the real rows, questions, scoring, ledger and
one server of the local model for all runs. Each run appends a JSON line to FILE when it ends; runs that are already
there are skipped, and the calls of a run that was stopped are recorded, so the same command goes on.

All runs of a slice share one job in the ledger beside FILE: a prompt that meets a row again, in whatever run, gets the
recorded answer. ``rollouts`` counts what a run asked for, ``calls`` what it had to make, ``seconds`` its wall time
since it was started last. Runs have no time limit, so that the load of the machine cannot change a result.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mipro_walk.backend.in_process import Banking77World, data_hash, load_data
from mipro_walk.backend.local_model import LocalModel
from mipro_walk.backend.preparation import to_ledger
from mipro_walk.backend.stops import Wishes
from mipro_walk.clients.attempts import Attempt
from mipro_walk.clients.chat import ChatGateway
from mipro_walk.clients.gateway_thread import GatewayThread
from mipro_walk.comparison.intervals import Interval, Scores, differences, known_mean, over_runs, wilson
from mipro_walk.comparison.methods import Contest, Counted, Found, keep_baseline, random_search, search
from mipro_walk.config import RunConfig, get_profile, parse_config
from mipro_walk.core.algorithms import Writer
from mipro_walk.core.statistics import compare_paired
from mipro_walk.errors import MiproWalkError
from mipro_walk.ledger import Ledger, RecordedCompletions, RecordedEvaluator
from mipro_walk.paths import home
from mipro_walk.types import fingerprint
from task_apps.banking77.data import TaskData

ROWS: Mapping[int, Mapping[str, Any]] = {
    10: {},
    77: {
        "bootstrap_train_seeds": list(range(154)),
        "online_pool": list(range(77)),
        "test_pool": list(range(154)),
        "test_size": 154,
    },
}
"""What each slice changes of the profile: only rows. All 77 intents: two train rows, one val row, two test rows for
each intent. ``num_demos`` stays as it is, so that nothing is tuned for this measurement (``docs/results.md``)."""
OPENING, CLOSING = "<!-- table: banking77 -->", "<!-- end of table: banking77 -->"


# ---- methods: those of the product, by the names of the file


METHODS: Mapping[str, Callable[[Contest], Found]] = {
    "baseline": keep_baseline,
    "random": random_search,
    "demos": search,
    "ours": search,
}
NAMES = {"baseline": "baseline", "random": "random search", "demos": "demonstrations only", "ours": "ours"}


# ---- one run


@dataclass(frozen=True, order=True)
class RunKey:
    """Which run. The baseline has only ``rng_seed`` 0: nothing in it is drawn."""

    num_intents: int
    rng_seed: int
    method: str


@dataclass(frozen=True)
class Record:
    """One line of the file. Scores align with the test rows; ``rows_hash`` says which rows, question and model.

    ``rollouts`` are those before the test, ``calls`` the policy calls that were made now, ``seconds`` wall time.
    """

    num_intents: int
    method: str
    rng_seed: int
    rows_hash: str
    config_hash: str
    budget: int
    num_demos: int
    val_rows: int
    scores: Scores
    baseline_scores: Scores
    rollouts: int
    calls: int
    seconds: float
    instruction: str
    demos_shown: int
    source: str
    machine: str
    ended_at: str

    @property
    def key(self) -> RunKey:
        """Which run this is."""
        return RunKey(self.num_intents, self.rng_seed, self.method)


def configuration(key: RunKey, test_rows: int | None = None) -> RunConfig:
    """Return the configuration of a run: quick-local with the rows of the slice."""
    document = get_profile("quick-local").document
    section = document["prompt_learning"]
    section["env_config"] = {"num_intents": key.num_intents}
    section["mipro"] |= ROWS[key.num_intents]
    section["mipro"] |= {"rng_seed": key.rng_seed, "optimize_instructions": key.method != "demos"}
    section["mipro"] |= {"ablation_size": 0}  # it explains a result and decides nothing
    if test_rows is not None:
        section["mipro"] |= {"test_pool": list(range(test_rows)), "test_size": test_rows}
    return parse_config(document, origin="benchmark", environ={})


class Bench:
    """The real stack for all runs: one model server, one ledger, one job in it for each slice."""

    def __init__(self, data: TaskData, ledger: Ledger, model: LocalModel, thread: GatewayThread) -> None:
        self._data = data
        self._ledger = ledger
        self._model = model
        self._thread = thread

    def run(self, key: RunKey, config: RunConfig) -> Record:
        """Make one run. Raises IncompleteError if the model cannot be asked."""
        made = Counter[bool]()
        job_id = self._job(config)
        started = time.monotonic()
        with self._world(job_id, config) as world:
            task = world.load_task()
            models = world.models()
            rows_hash = fingerprint([task.dataset_hash, task.instruction, models["policy"], config.env_config])
            recorded = RecordedEvaluator(
                self._ledger,
                job_id,
                rows_hash,
                world.run_rollout,
                config.max_concurrent,
                lambda _outcome, is_new: made.update([is_new]),
            )
            complete = RecordedCompletions(self._ledger, job_id, fingerprint(models["meta"]), world.complete)
            proposer = Writer(config.proposer, complete).proposer()
            try:
                found = METHODS[key.method](Contest(task, Counted(recorded), proposer, config.settings))
            finally:
                recorded.close()
        return Record(
            **asdict(key),
            rows_hash=rows_hash,
            config_hash=config.config_hash,
            budget=config.settings.budget,
            num_demos=config.settings.num_demos,
            val_rows=len(task.val),
            scores=found.scores,
            baseline_scores=found.baseline_scores,
            rollouts=found.rollouts,
            calls=made[True],
            seconds=round(time.monotonic() - started, 1),
            instruction=found.winner.instruction,
            demos_shown=len(found.winner.demos),
            source=self._data.source.name,
            machine=machine(),
            ended_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _job(self, config: RunConfig) -> str:
        """Return the job that all runs of a slice record their calls under."""
        name = fingerprint(["benchmark", data_hash(self._data), dict(config.env_config)])
        job = self._ledger.create_job(
            config.as_dict(), algorithm="mipro", launch={"benchmark": True}, request_hash=name, idempotency_key=name
        )
        return job.job_id

    @contextmanager
    def _world(self, job_id: str, config: RunConfig) -> Iterator[Banking77World]:
        with ExitStack() as stack:
            policy, meta = (self._gateway(job_id, role, config) for role in ("policy", "meta"))
            stack.callback(policy.close_sync)
            stack.callback(meta.close_sync)
            yield Banking77World(config, policy, meta, meta, Wishes(), [], data=self._data)

    def _gateway(self, job_id: str, role: str, config: RunConfig) -> ChatGateway:
        def keep(attempt: Attempt) -> None:
            self._ledger.add_call(job_id, to_ledger(role, attempt))

        return ChatGateway(
            self._model.endpoint(config.policy.model),
            max_concurrent=config.max_concurrent,
            call_timeout_seconds=config.call_timeout_seconds,
            max_retries=config.max_retries,
            on_attempt=keep,
            loop=self._thread.loop,
        )


@contextmanager
def open_bench(data: TaskData, ledger_path: Path) -> Iterator[Bench]:
    """Open the ledger; the model server starts with the first run and stops at the end."""
    with ExitStack() as stack:
        ledger = Ledger(f"sqlite:///{ledger_path.absolute()}")
        stack.callback(ledger.close)
        model = LocalModel(home(), None)
        stack.callback(model.stop)
        yield Bench(data, ledger, model, stack.enter_context(GatewayThread()))


def machine() -> str:
    """Return in words what this was measured on."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def run_keys(slices: Iterable[int], methods: Sequence[str], rng_seeds: Iterable[int]) -> list[RunKey]:
    """Return every run that is asked for, in the order in which they are made."""
    keys = [RunKey(count, seed, name) for count in slices for seed in sorted(rng_seeds) for name in methods]
    return list(dict.fromkeys(RunKey(k.num_intents, 0, k.method) if k.method == "baseline" else k for k in keys))


def measure(data: TaskData, keys: Sequence[RunKey], out: Path, test_rows: int | None) -> None:
    """Make the runs that ``out`` does not hold yet, adding a line for each as soon as it ends."""
    out.parent.mkdir(parents=True, exist_ok=True)
    done = {(record.key, record.config_hash) for record in read_records(out)}
    with open_bench(data, out.with_suffix(".sqlite3")) as bench:
        for key in keys:
            config = configuration(key, test_rows)
            if (key, config.config_hash) in done:
                continue
            record = bench.run(key, config)
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
            print(one_line(record), flush=True)


def read_records(path: Path) -> list[Record]:
    """Return the runs of a file, the oldest first; none if there is no file."""
    if not path.exists():
        return []
    return [Record(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def one_line(record: Record) -> str:
    """Return what a person watching wants to know of a run."""
    known = [score for score in record.scores if score is not None]
    return (
        f"{record.num_intents} intents, {NAMES[record.method]}, rng seed {record.rng_seed}: "
        f"{100 * known_mean(known):.1f} % on {len(known)} test rows; {record.rollouts} rollouts before the test, "
        f"{record.calls} calls made, {record.seconds:.0f} s"
    )


# ---- the table


def render(records: Sequence[Record]) -> str:
    """Return a Markdown table for each slice. A run that was made twice counts as it was made last."""
    latest = {record.key: record for record in records}
    slices = sorted({key.num_intents for key in latest})
    return "\n\n".join(_slice_table([latest[k] for k in sorted(latest) if k.num_intents == n]) for n in slices)


def _slice_table(records: Sequence[Record]) -> str:
    if len({(record.rows_hash, len(record.scores)) for record in records}) > 1:
        raise SystemExit(
            f"The file holds runs with {records[0].num_intents} intents on different rows. Use one --out for each."
        )
    lines = [
        _caption(records),
        "",
        "| method | rng seed | test accuracy, % | against baseline, points | verdict | rollouts | calls | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method in METHODS:
        runs = [record for record in records if record.method == method]
        lines += [_run_line(record) for record in runs]
        if len(runs) > 1:
            lines.append(_mean_line(runs))
    return "\n".join(lines)


def _caption(records: Sequence[Record]) -> str:
    first = records[0]
    machines = "; ".join(sorted({record.machine for record in records}))
    ended = max(record.ended_at for record in records)[:10]
    return (
        f"**{first.num_intents} intents**: {len(first.scores)} test rows, {first.val_rows} val rows, budget "
        f"{first.budget}, num_demos {first.num_demos}. Data: {first.source}, rows {first.rows_hash[:8]}. "
        f"{ended}, {machines}."
    )


def _run_line(record: Record) -> str:
    excluded = sum(score is None for score in record.scores)
    accuracy = wilson(record.scores).text() + (f", {excluded} rows failed" if excluded else "")
    difference = verdict = ""
    if record.method != "baseline":
        compared = compare_paired(record.baseline_scores, record.scores)
        difference, verdict = Interval(compared.difference, compared.low, compared.high).text("+"), compared.verdict
    cells = (NAMES[record.method], record.rng_seed, accuracy, difference, verdict)
    return _cells(*cells, record.rollouts, record.calls, round(record.seconds))


def _mean_line(runs: Sequence[Record]) -> str:
    gain = over_runs([differences(run.scores, run.baseline_scores) for run in runs])
    cells = (
        f"**{NAMES[runs[0].method]}**",
        f"mean of {len(runs)}",
        f"**{over_runs([r.scores for r in runs]).text()}**",
    )
    means = (round(known_mean([float(getattr(r, name)) for r in runs])) for name in ("rollouts", "calls", "seconds"))
    return _cells(*cells, gain.text("+"), gain.verdict, *means)


def _cells(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def put_between_markers(document: str, table: str) -> str:
    """Return the document with the table in its place."""
    if OPENING not in document or CLOSING not in document:
        raise SystemExit(f"That file has no place for the table: {OPENING} and {CLOSING}, each on a line of its own.")
    before, rest = document.split(OPENING)
    _, after = rest.split(CLOSING)
    return f"{before}{OPENING}\n\n{table}\n\n{CLOSING}{after}"


# ---- the command


def numbers(text: str) -> list[int]:
    """Read ``0-4`` or ``0,2,5``."""
    spans = [part.partition("-") for part in text.split(",")]
    return [number for low, _, high in spans for number in range(int(low), int(high or low) + 1)]


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="sample", metavar="PATH|sample|hub")
    parser.add_argument("--num-intents", type=numbers, default=[*ROWS], metavar="10|77|10,77")
    parser.add_argument("--methods", type=lambda text: text.split(","), default=[*METHODS], metavar="NAME,...")
    parser.add_argument("--rng-seeds", type=numbers, default=[0, 1, 2, 3, 4], metavar="0-4")
    parser.add_argument("--test-rows", type=int, metavar="N", help="fewer test rows, to try it out")
    parser.add_argument("--out", type=Path, default=Path("results/banking77.jsonl"), metavar="FILE.jsonl")
    parser.add_argument("--table", action="store_true", help="make no runs; print the table of --out")
    parser.add_argument("--into", type=Path, metavar="FILE.md", help="with --table: put it between the file's markers")
    options = parser.parse_args()
    if unknown := [*set(options.methods) - set(METHODS), *set(options.num_intents) - set(ROWS)]:
        parser.error(f"unknown: {unknown}; methods are {', '.join(METHODS)}, intents 10 and 77")
    return options


def main() -> None:
    """Read the options; measure, or show what was measured."""
    options = read_options()
    if options.table:
        table = render(read_records(options.out))
        if options.into is None:
            print(table)
        else:
            document = options.into.read_text(encoding="utf-8")
            options.into.write_text(put_between_markers(document, table), encoding="utf-8")
        return
    keys = run_keys(options.num_intents, options.methods, options.rng_seeds)
    try:
        measure(load_data(options.data), keys, options.out, options.test_rows)
    except MiproWalkError as exc:
        print(f"error: {exc.message}\n  fix: {exc.fix}", file=sys.stderr)
        raise SystemExit(exc.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit("Stopped. The same command goes on.") from None


if __name__ == "__main__":
    main()
