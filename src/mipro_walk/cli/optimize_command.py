"""``mipro-walk optimize``: a job in this process, without starting any server but the local model."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mipro_walk.cli.console import is_interactive, stderr_console, stdout_console
from mipro_walk.cli.options import print_json
from mipro_walk.cli.trusting import load_asking
from mipro_walk.errors import IncompleteError, error_with_code

if TYPE_CHECKING:
    from mipro_walk.project.loading import Project
    from task_apps.banking77.data import TaskData


def optimize(
    config: Annotated[
        Path, typer.Argument(metavar="PROJECT_OR_CONFIG", help="A project's folder, or a configuration file.")
    ] = Path("mipro_config.toml"),
    data: Annotated[
        str, typer.Option("--data", metavar="PATH|hub|sample", help="Where Banking77's rows come from.")
    ] = "sample",
    results: Annotated[Path | None, typer.Option("--results", metavar="DIR", help="Where the files go.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object at the end.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to calls that cost money.")] = False,
    max_cost_usd: Annotated[
        float | None, typer.Option("--max-cost-usd", metavar="X", min=0.0, help="Hard cap.")
    ] = None,
    fail_under: Annotated[
        float | None, typer.Option("--fail-under", metavar="X", min=0.0, max=1.0, help="Exit 6 below this score.")
    ] = None,
    model_path: Annotated[Path | None, typer.Option("--model-path", metavar="FILE", help="A GGUF file.")] = None,
) -> None:
    """Optimize a project, or Banking77, in this process, without servers. The same command goes on after a stop.

    A configuration file beside a task.toml belongs to that project; any other one is about Banking77.

    \b
    Examples:
      mipro-walk optimize my-task
      mipro-walk optimize configs/quick-local.toml --results results
    """
    from mipro_walk.backend.in_process import load_data, run_in_process
    from mipro_walk.backend.settings import BackendSettings
    from mipro_walk.cli.live import StoppedByUserError
    from mipro_walk.cli.progress_words import heartbeat, summary
    from mipro_walk.cli.results_screen import render
    from mipro_walk.cli.visible import visible
    from mipro_walk.paths import backend_key, home
    from mipro_walk.project.definition import config_of, project_of
    from mipro_walk.project.loading import load_project
    from mipro_walk.report.files import write_results
    from mipro_walk.walkthrough.submit_job import (
        TrainResult,
        report_problem_in_words,
        require_score,
        with_spending_limit,
    )

    console = stderr_console()
    project, config = project_of(config), config_of(config)
    if project is None:
        rows: TaskData | Project = load_data(data)
    else:
        rows = load_project(project)
        for finding in rows.findings:
            console.print(visible(f"{finding.level}: {finding.text}"), markup=False)
    loaded = with_spending_limit(
        load_asking(config),
        max_cost_usd=max_cost_usd,
        yes=yes,
        is_interactive=is_interactive(),
        confirm=lambda question: typer.confirm(question, err=True),
    )
    settings = BackendSettings(
        home(), (backend_key(home()),), os.environ.get("MIPRO_WALK_LEDGER_URL", ""), model_path=model_path
    )

    def say(text: str) -> None:
        console.print(visible(text, console.encoding), markup=False, soft_wrap=not console.is_terminal)

    try:
        job, documents = run_in_process(
            settings,
            loaded,
            rows,
            say,
            on_status=lambda status: say(heartbeat(status)),
            command=_command(config, None if project is not None else data),
        )
    except KeyboardInterrupt:
        again = "Run the same command again to go on."
        raise StoppedByUserError("Paused; everything that was paid for is kept.", again) from None
    if job.status == "paused":
        raise IncompleteError(job.error or "as asked", job.fix or "Run the same command again to go on.")
    if documents is None:
        raise error_with_code(job.error_code, job.error or f"The job ended as {job.status}.", job.fix or "")
    console.print(summary(_last_status(job.job_id, job.status, job.stop_reason, documents), console))
    folder = (results or loaded.results_path(config)).expanduser().absolute()
    written = write_results(folder, documents)
    status = {"status": job.status, "stop_reason": job.stop_reason}
    done = TrainResult(job.job_id, status, documents, written.files, written.problem)
    if as_json:
        print_json(done.as_dict())
    else:
        render(documents, stdout_console(), folder=folder)
    if done.report_problem:
        console.print(f"WARN {visible(report_problem_in_words(done))}", markup=False, soft_wrap=True)
    require_score(done, fail_under)


def _command(config: Path, data: str | None) -> str:
    """Return the command that goes on with this job from any folder; rows and configuration are what it is found by."""
    words = ["mipro-walk", "optimize", str(config.absolute())]
    if data not in (None, "sample"):
        words += ["--data", data if data == "hub" else str(Path(data).absolute())]
    return shlex.join(words)


def _last_status(
    job_id: str, state: str, stop_reason: str | None, documents: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return how a job ended, as the job API tells it."""
    metadata = documents["job_metadata.json"]
    progress = {**metadata["progress"], "usage": metadata["usage"], "elapsed_seconds": metadata["seconds"]}
    return {"job_id": job_id, "status": state, "stop_reason": stop_reason, "progress": progress}
