"""``mipro-walk train`` and ``mipro-walk resume``: submit a job or go on with one, follow it, keep its results."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mipro_walk.cli.console import is_interactive, stderr_console, stdout_console
from mipro_walk.cli.heartbeat import Heartbeat
from mipro_walk.cli.job_session import (
    chosen_display,
    complete_job_id,
    ensure_task_app,
    open_backend,
    require_task_app,
    start_project_app,
    task_app_key,
)
from mipro_walk.cli.trusting import load_asking
from mipro_walk.errors import ConfigError, PrerequisiteError

if TYPE_CHECKING:  # what these need is heavy; --help does without it
    from rich.console import Console

    from mipro_walk.clients.backend import BackendClient
    from mipro_walk.config import RunConfig
    from mipro_walk.walkthrough.services import Services
    from mipro_walk.walkthrough.submit_job import Follow, TrainResult

Backend = Annotated[
    str | None,
    typer.Option("--backend", metavar="URL", help="Use this backend (SYNTH_API_KEY)."),
]
DisplayOption = Annotated[
    str | None,
    typer.Option("--display", metavar="NAME", help="rich, plain, log or none."),
]
Events = Annotated[
    str | None,
    typer.Option("--events", metavar="ndjson", help="Write every event to stdout."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON object at the end.")]
FailUnder = Annotated[
    float | None,
    typer.Option("--fail-under", metavar="X", min=0.0, max=1.0, help="Exit 6 below this score."),
]
Open = Annotated[bool, typer.Option("--open", help="Open the live page in a browser.")]
Results = Annotated[
    Path | None,
    typer.Option("--results", metavar="DIR", help="Where the result files go."),
]


def train(
    config: Annotated[
        Path, typer.Argument(help="The configuration file, or a project's folder: its task app is started, too.")
    ] = Path("mipro_config.toml"),
    poll: Annotated[bool, typer.Option("--poll/--no-poll", help="Follow the job to its end.")] = True,
    backend: Backend = None,
    display: DisplayOption = None,
    events: Events = None,
    as_json: AsJson = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to calls that cost money.")] = False,
    max_cost_usd: Annotated[
        float | None,
        typer.Option("--max-cost-usd", metavar="X", min=0.0, help="Hard cap."),
    ] = None,
    fail_under: FailUnder = None,
    results: Results = None,
    open_page: Open = False,
) -> None:
    """Submit an optimization job and follow it. Ctrl-C pauses it; `mipro-walk resume` goes on.

    With --open the backend stays for the page until `mipro-walk stop`.

    Example: mipro-walk train mipro_config.toml --poll --max-cost-usd 1
    """
    from mipro_walk.project.definition import config_of, project_of
    from mipro_walk.walkthrough.submit_job import submit_and_follow, with_spending_limit

    output = _Output(display, events, as_json, open_page)
    project, config = project_of(config), config_of(config)
    loaded = load_asking(config)
    loaded = with_spending_limit(
        loaded, max_cost_usd=max_cost_usd, yes=yes, is_interactive=is_interactive(), confirm=_confirm
    )
    folder = (results or loaded.results_path(config)).expanduser().absolute()
    key = task_app_key(loaded, config.absolute())
    launch: dict[str, Any] = {"config": str(config.absolute()), "results_folder": str(folder)}
    with ExitStack() as stack:
        with output.waiting("starting the backend"):
            opened = stack.enter_context(open_backend(backend, outlives_us=open_page or not poll))
            if project is not None:
                key, started = _start_project(opened.services, loaded, project.absolute(), key, detached=not poll)
                launch |= started
            elif backend is None:
                require_task_app(loaded.task_app_url, key)
            if key:
                opened.client.register_environment_key(key)
        if not poll:
            job_id = opened.client.submit(loaded.as_dict(), launch)
            output.show_page(opened.client, job_id)
            _hand_over(job_id, output)
            return
        follow = output.follow(opened.client, is_ours=opened.is_ours)
        done = submit_and_follow(opened.client, loaded, follow=follow, results_folder=folder, launch=launch)
    output.show(done, folder, fail_under)


def _start_project(
    services: Services, config: RunConfig, project: Path, key: str | None, *, detached: bool
) -> tuple[str, dict[str, Any]]:
    """Start a project's task app unless it runs; return the key and what ``resume`` needs to start it again."""
    from mipro_walk.paths import Workdir
    from mipro_walk.walkthrough.keys import environment_key
    from mipro_walk.walkthrough.services import launch_of

    workdir = Workdir.open(None)
    key = key or environment_key(os.environ, workdir).value
    app = start_project_app(services, config, project, key, detached=detached)
    return key, launch_of(app, str(project), workdir.env_key)


def resume(
    job_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]", help="The job; by default the last unfinished one.", autocompletion=complete_job_id
        ),
    ] = None,
    backend: Backend = None,
    display: DisplayOption = None,
    events: Events = None,
    as_json: AsJson = False,
    fail_under: FailUnder = None,
    results: Results = None,
    open_page: Open = False,
) -> None:
    """Go on with a job exactly as it was submitted. Calls that were paid for are not made again.

    A job of `mipro-walk optimize` goes on with that command; this one says how.

    Example: mipro-walk resume pl_0123456789abcdef
    """
    from mipro_walk.cli.live import last_event
    from mipro_walk.cli.visible import visible
    from mipro_walk.walkthrough.submit_job import UNFINISHED, last_unfinished, require_resumable, resume_and_follow

    output = _Output(display, events, as_json, open_page)
    with ExitStack() as stack:
        with output.waiting("starting the backend"):
            opened = stack.enter_context(open_backend(backend, outlives_us=open_page))
            chosen = job_id or last_unfinished(opened.client)
            status = opened.client.status(chosen)
            require_resumable(status)
            known = last_event(opened.client, chosen)
        folder = _results_folder(results, status)
        follow = output.follow(opened.client, is_ours=opened.is_ours, known_until=known)
        output.say(f"Job {visible(chosen)} is {visible(status['status'])}.")
        if backend is None and status["status"] in UNFINISHED:
            with output.waiting("starting the task app"):
                ensure_task_app(opened.services, status.get("launch") or {}, str(status.get("task_app_url") or ""))
        done = resume_and_follow(opened.client, chosen, follow=follow, results_folder=folder)
    output.show(done, folder, fail_under)


class _Output:
    """Where the parts of the output go: talk to stderr, results to stdout unless events or JSON claim it."""

    def __init__(self, display: str | None, events: str | None, as_json: bool, open_page: bool) -> None:
        if events not in (None, "ndjson"):
            raise ConfigError(f"--events {events!r} is not known.", "Use --events ndjson.")
        self.err: Console = stderr_console()
        self.display = chosen_display(display, self.err)
        self.has_events = events is not None
        self.as_json = as_json
        self.open_page = open_page

    def follow(self, client: BackendClient, *, is_ours: bool, known_until: int = 0) -> Follow:
        """Return the function that follows a job the way the options say."""
        from mipro_walk.cli.live import OnInterrupt, follow, write_ndjson

        on_interrupt: OnInterrupt = "pause" if is_ours else "detach"

        def watch(job_id: str) -> dict[str, Any]:
            self.show_page(client, job_id)
            return follow(
                client,
                job_id,
                console=self.err,
                display=self.display,
                on_interrupt=on_interrupt,
                on_event=write_ndjson if self.has_events else None,
                known_until=known_until,
            )

        return watch

    def show_page(self, client: BackendClient, job_id: str) -> None:
        """Open the live page of a job if that was asked for; its address is said whatever the display is."""
        from mipro_walk.cli.page_opening import show_page

        if self.open_page:
            show_page(client, lambda text: self.err.print(text, soft_wrap=True), job_id)

    def say(self, text: str) -> None:
        """Tell the user something, unless a program reads our log."""
        if self.display in ("rich", "plain"):
            self.err.print(text, soft_wrap=True)

    def waiting(self, what: str) -> Heartbeat:
        """Return what says every five seconds, while it is open, that ``what`` is under way."""
        return Heartbeat(lambda seconds: self.say(f"... {what}, {seconds:.0f} s"))

    def show(self, done: TrainResult, folder: Path | None, fail_under: float | None) -> None:
        """Show the results and raise if they are below the threshold."""
        from rich.text import Text

        from mipro_walk.cli.results_screen import render
        from mipro_walk.walkthrough.submit_job import report_problem_in_words, require_score

        if self.as_json:
            print_json(done.as_dict())
        elif done.documents and self.display != "none":
            render(done.documents, self.err if self.has_events else stdout_console(), folder=folder)
        if done.files:
            self.say(f"\nResults written to {done.files[0].parent}")
        if done.report_problem:
            self.err.print(Text(f"WARN {report_problem_in_words(done)}"), soft_wrap=True)
        require_score(done, fail_under)


def print_json(document: dict[str, Any]) -> None:
    """Write one JSON object to standard output; in ASCII, so that nothing in it acts on a terminal."""
    typer.echo(json.dumps(document, indent=2))


def _hand_over(job_id: str, output: _Output) -> None:
    if output.as_json:
        print_json({"schema_version": 1, "job_id": job_id, "status": "queued"})
        return
    output.say("The job runs without you. Watch it, or stop the servers that were started for it:")
    output.say(f"  mipro-walk resume {job_id}\n  mipro-walk stop")
    typer.echo(job_id)


def _results_folder(option: Path | None, status: dict[str, Any]) -> Path | None:
    """Return the folder of the option, else the one the job was submitted with if it is still ours to write."""
    recorded = (status.get("launch") or {}).get("results_folder")
    if option is None and not isinstance(recorded, str):
        return None
    folder = (option or Path(str(recorded))).expanduser().absolute()
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise PrerequisiteError(f"The results folder {folder} cannot be written to.", "Choose one with --results DIR.")
    return folder


def _confirm(question: str) -> bool:
    return typer.confirm(question, default=False, err=True)
