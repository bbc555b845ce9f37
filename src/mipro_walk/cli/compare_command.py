"""``mipro-walk compare``: methods on the same rows, or two finished jobs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mipro_walk.cli.console import is_interactive, stderr_console, stdout_console
from mipro_walk.cli.job_session import complete_job_id
from mipro_walk.cli.options import DataOption, JsonOption, ModelPathOption, print_json
from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError, IncompleteError

if TYPE_CHECKING:
    from mipro_walk.backend.comparison_order import Order
    from mipro_walk.backend.settings import BackendSettings
    from mipro_walk.comparison.jobs import JobResult
    from mipro_walk.config import RunConfig
    from mipro_walk.ledger import Ledger
    from task_apps.banking77.data import TaskData

SEEDS = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
MAX_SEEDS = 100
MAX_RNG_SEED = 2**31 - 1
DEFAULT_FOLDER = "comparison"


def compare(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG | A B",
            help="A configuration to run several methods with, or two finished jobs: ids or folders of result files.",
            autocompletion=complete_job_id,
        ),
    ],
    methods: Annotated[
        str | None,
        typer.Option("--methods", metavar="A,B,...", help="mipro, gepa, random, demos-only, baseline. [default: all]"),
    ] = None,
    rng_seeds: Annotated[
        str | None, typer.Option("--rng-seeds", metavar="0-2", help="Runs of each method. [default: 0-2]")
    ] = None,
    data: DataOption = None,
    results: Annotated[Path | None, typer.Option("--results", metavar="DIR", help="Where the files go.")] = None,
    as_json: JsonOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it will take; make no call.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to calls that cost money.")] = False,
    max_cost_usd: Annotated[
        float | None, typer.Option("--max-cost-usd", metavar="X", min=0.0, help="Hard cap on all runs together.")
    ] = None,
    model_path: ModelPathOption = None,
) -> None:
    """Compare methods on the same rows, budget and model, or two finished jobs. Writes compare.html.

    Rows and answers are shared: what one run has paid, no other pays again. The same command goes on after a stop.

    Example: mipro-walk compare configs/quick-local.toml --methods mipro,random --rng-seeds 0-2
    """
    if len(targets) == 2:
        if methods or rng_seeds or dry_run:
            raise ConfigError(
                "--methods, --rng-seeds and --dry-run belong to a comparison of methods, not of two jobs.",
                "Name one configuration, or leave them out.",
            )
        _compare_jobs(targets[0], targets[1], results, as_json)
    elif len(targets) == 1:
        chosen = (methods, rng_seeds or "0-2", data or "sample")
        _compare_methods(Path(targets[0]), chosen, results, as_json, dry_run, _Consent(yes, max_cost_usd), model_path)
    else:
        raise ConfigError(f"{len(targets)} things cannot be compared here.", "Name one configuration or two jobs.")


class _Consent:
    """Whether money may be spent."""

    def __init__(self, yes: bool, max_cost_usd: float | None) -> None:
        self.yes = yes
        self.max_cost_usd = max_cost_usd

    def limit(self, config: RunConfig) -> RunConfig:
        """Return ``config`` with the cap, once somebody agreed."""
        from mipro_walk.walkthrough.submit_job import with_spending_limit

        return with_spending_limit(
            config,
            max_cost_usd=self.max_cost_usd,
            yes=self.yes,
            is_interactive=is_interactive(),
            confirm=lambda question: typer.confirm(question, err=True),
        )


def _compare_methods(
    path: Path,
    chosen: tuple[str | None, str, str],
    results: Path | None,
    as_json: bool,
    dry_run: bool,
    consent: _Consent,
    model_path: Path | None,
) -> None:
    from mipro_walk.backend.comparison import forecasts
    from mipro_walk.backend.comparison_order import Order
    from mipro_walk.backend.in_process import load_data
    from mipro_walk.cli.trusting import load_asking
    from mipro_walk.comparison.methods import chosen_methods, default_methods

    names, seeds, source = chosen
    methods = chosen_methods([n.strip() for n in names.split(",") if n.strip()] if names else default_methods())
    if not methods:
        raise ConfigError("--methods names none.", f"Give some of {', '.join(default_methods())}.")
    config = load_asking(path)
    order = Order(config, methods, read_seeds(seeds))
    data = load_data(source)
    expected = [(m.title, runs, forecast) for m, runs, forecast in forecasts(order, data)]
    if dry_run:
        _show_forecast(expected, as_json)
        return
    _say_forecast(expected)
    order = Order(consent.limit(config), methods, order.rng_seeds)
    folder = (results or config.results_path(path)).expanduser().absolute()
    _run(order, data, folder, as_json, model_path)


def _run(order: Order, data: TaskData, folder: Path, as_json: bool, model_path: Path | None) -> None:
    from mipro_walk.backend.comparison import run_comparison
    from mipro_walk.backend.stops import Wishes
    from mipro_walk.cli.compare_live import CompareWatch, watch_to_the_end
    from mipro_walk.cli.job_session import chosen_display
    from mipro_walk.comparison.document import Setting, methods_document

    console, wishes = stderr_console(), Wishes()
    titles = {method.name: method.title for method in order.methods}
    watch = CompareWatch(console, titles, is_moving=chosen_display(None, console) == "rich")
    settings = _settings(model_path)
    compared = watch_to_the_end(lambda: run_comparison(settings, order, data, watch, wishes), watch, wishes.pause)
    task = compared.task
    setting = Setting(
        task=task.name,
        baseline=task.baseline,
        source=compared.source,
        rows={"train": len(task.train), "val": len(task.val), "test": len(task.test)},
        budget=compared.config.settings.budget,
        models=compared.models,
        job_id=compared.job_id,
        rng_seeds=tuple(order.rng_seeds),
    )
    document = methods_document(setting, order.methods, compared.runs, compared.missing)
    _show(document, folder, as_json)
    if compared.missing:
        failed = len(compared.missing)
        raise IncompleteError(
            f"{failed} of {failed + len(compared.runs)} runs are left out: {compared.missing[0].reason}",
            "The same command tries them again; nothing is paid twice.",
        )


def _compare_jobs(first: str, second: str, results: Path | None, as_json: bool) -> None:
    from mipro_walk.comparison.jobs import jobs_document
    from mipro_walk.ledger import Ledger

    ledger = Ledger(_settings(None).database)
    try:
        found = [_job_result(name, ledger) for name in (first, second)]
    finally:
        ledger.close()
    document = jobs_document(found[0], found[1])
    _show(document, (results or Path(DEFAULT_FOLDER)).expanduser().absolute(), as_json)


def _job_result(target: str, ledger: Ledger) -> JobResult:
    from mipro_walk.cli.results_command import JOB_ID, read_documents
    from mipro_walk.comparison.jobs import JobResult
    from mipro_walk.ledger.store import COMPARISON
    from mipro_walk.results import DOCUMENT_NAMES, results_in

    if not JOB_ID.fullmatch(target):
        path = Path(target).expanduser()
        if path.is_file() and path.name not in DOCUMENT_NAMES:
            raise ConfigError(f"{target} is neither a job nor a folder of result files.", "Name two jobs or folders.")
        folder = path.absolute().parent if path.name in DOCUMENT_NAMES else results_in(path.absolute())
        return JobResult(target, read_documents(folder))
    job = ledger.job(target)
    if job is None or job.algorithm == COMPARISON:
        raise ConfigError(
            f"There is no job {target} in the ledger.", "See `mipro-walk jobs`, or name a results folder."
        )
    documents = ledger.documents(target)
    if documents is None:
        how = f"Go on with: mipro-walk resume {target}" if job.status in ("paused", "queued") else "Name another job."
        raise ConfigError(f"Job {target} is {job.status} and has no results.", how)
    return JobResult(target, documents)


def _show(document: dict[str, Any], folder: Path, as_json: bool) -> None:
    """Write the files, then show the document."""
    from mipro_walk.cli.compare_screen import render
    from mipro_walk.comparison.files import write_comparison

    page = write_comparison(folder, document)
    if as_json:
        print_json(document)
        stderr_console().print(f"Report page: {page}", soft_wrap=True)
    else:
        render(document, stdout_console(), page=page)


def _settings(model_path: Path | None) -> BackendSettings:
    from mipro_walk.backend.settings import BackendSettings
    from mipro_walk.paths import backend_key, home

    url = os.environ.get("MIPRO_WALK_LEDGER_URL", "")
    return BackendSettings(home(), (backend_key(home()),), url, model_path=model_path)


def read_seeds(text: str) -> tuple[int, ...]:
    """Read ``0-4`` or ``0,2,5``.

    Raises:
        ConfigError: it is not of that form, or names too many.
    """
    found: list[int] = []
    for part in text.split(","):
        match = SEEDS.fullmatch(part.strip())
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not low <= high <= MAX_RNG_SEED or high - low >= MAX_SEEDS:
            raise ConfigError(f"--rng-seeds {text!r} cannot be read at {part!r}.", "Write 0-2 or 0,3,7: at most 100.")
        found += range(low, high + 1)
    if len(found) > MAX_SEEDS:
        raise ConfigError(f"--rng-seeds {text!r} names {len(found)} seeds.", f"Name at most {MAX_SEEDS}.")
    return tuple(dict.fromkeys(found))


def _show_forecast(expected: list[tuple[str, int, Any]], as_json: bool) -> None:
    from mipro_walk.forecast import cost_in_words, time_in_words

    if as_json:
        rows = [{"method": name, "runs": runs, "each": forecast.as_dict()} for name, runs, forecast in expected]
        print_json({"forecast": rows, "note": NOTE})
        return
    console = stdout_console()
    for name, runs, forecast in expected:
        console.print(
            f"{name}: {counted(runs, 'run')} of {counted(forecast.calls, 'rollout')} and "
            f"{counted(forecast.proposals, 'proposal')} each, {time_in_words(forecast.seconds)}, "
            f"cost {cost_in_words(forecast.cost_usd)}",
            soft_wrap=True,
        )
    console.print(NOTE, soft_wrap=True)


NOTE = "At most: answers that an earlier run has paid are not paid again, and one run may need less than planned."


def _say_forecast(expected: list[tuple[str, int, Any]]) -> None:
    """Say on standard error what all runs together can take."""
    calls = sum(runs * (f.calls + f.proposals + f.judgements) for _, runs, f in expected)
    highs = [None if f.cost_usd is None else runs * f.cost_usd[2] for _, runs, f in expected]
    known = [cost for cost in highs if cost is not None]
    cost = f"${sum(known):.3f}" if len(known) == len(highs) else "at an unknown price"
    runs = sum(count for _, count, _ in expected)
    stderr_console().print(f"{counted(runs, 'run')}, at most {counted(calls, 'call')}, {cost}.", soft_wrap=True)
