"""``mipro-walk jobs`` and ``mipro-walk cancel``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mipro_walk.cli.console import stderr_console, stdout_console
from mipro_walk.cli.job_session import complete_job_id, open_backend
from mipro_walk.cli.train_command import AsJson, Backend, print_json

if TYPE_CHECKING:
    from rich.console import Console


def jobs(backend: Backend = None, as_json: AsJson = False) -> None:
    """List the jobs, newest first.

    Example: mipro-walk jobs --json | jq -r '.jobs[].job_id'
    """
    with open_backend(backend) as opened:
        found = opened.client.jobs()
    if as_json:
        print_json({"schema_version": 1, "jobs": found})
    elif found:
        show_jobs(found, stdout_console())
    else:
        stderr_console().print("There are no jobs yet. Start one: mipro-walk run")


def cancel(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job.", autocompletion=complete_job_id)],
    backend: Backend = None,
    as_json: AsJson = False,
) -> None:
    """End a job for good; what it found so far is kept. To stop it for a while press Ctrl-C instead.

    Example: mipro-walk cancel pl_0123456789abcdef
    """
    from mipro_walk.cli.visible import visible

    with open_backend(backend) as opened:
        status = opened.client.cancel(job_id)
    if as_json:
        print_json({"schema_version": 1, "job_id": job_id, "status": status.get("status")})
    else:
        state = visible(status.get("status"))
        shown = f"is {state}" if state in ("cancelled", "succeeded", "failed") else "is being cancelled"
        stderr_console().print(f"Job {visible(job_id)} {shown}.", soft_wrap=True)


def show_jobs(found: list[dict[str, Any]], console: Console) -> None:
    """Print one line for each job, never cut; ``key: value`` blocks where a terminal has no room for the columns."""
    from rich.text import Text

    rows = [_row(job, console.encoding) for job in found]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    if console.is_terminal and sum(widths.values()) + 2 * len(widths) > console.width:
        for row in rows:
            lines = [f"{name}: {value}" for name, value in row.items() if value]
            console.print(Text("\n".join(lines) + "\n"), soft_wrap=True)
        return
    heads = {name: name for name in widths}
    for number, row in enumerate([heads, *rows]):
        line = "  ".join(f"{row[name]:<{width}}" for name, width in widths.items()).rstrip()
        console.print(Text(line, style="" if number else "bold"), soft_wrap=True)


def _row(job: Mapping[str, Any], encoding: str) -> dict[str, str]:
    from mipro_walk.cli.progress_words import duration
    from mipro_walk.cli.visible import visible

    progress = job.get("progress") or {}
    best, planned = job.get("best_score"), progress.get("rollouts_planned")
    return {
        "job": visible(job.get("job_id"), encoding),
        "algorithm": visible(job.get("algorithm"), encoding),
        "status": visible(job.get("status"), encoding),
        "score": "" if best is None else f"{best:.2f}",
        "rollouts": f"{progress.get('rollouts_done', 0)}/{planned}" if planned else "",
        "time": duration(progress.get("elapsed_seconds") or 0.0),
        "created": visible(str(job.get("created_at") or "")[:16].replace("T", " "), encoding),
    }
