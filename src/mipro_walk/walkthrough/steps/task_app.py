"""Step 3: the task app, which owns the labelled rows and scores every answer."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence

from mipro_walk.clients.task_app import TaskAppClient, TaskAppInfo
from mipro_walk.errors import UnreachableError
from mipro_walk.walkthrough.context import HUB, SAMPLE, Context, StepResult
from mipro_walk.walkthrough.keys import environment_key
from mipro_walk.walkthrough.services import PortHolder, TaskApp, data_arguments, port_holder, project_folder, service_of
from mipro_walk.walkthrough.steps import Introduction
from mipro_walk.walkthrough.ui import Choice, Question, QuitRequested

SHOWN_LABELS = 3
SOURCES = {
    SAMPLE: "the sample that ships with mipro-walk (hand-written, 77 intents)",
    HUB: "PolyAI/banking77 from the Hugging Face hub (13,083 real queries, needs the network once)",
}


class TaskAppStep:
    """Starts the Banking77 task app."""

    number = 3
    title = "Task app"

    def introduce(self, ctx: Context) -> Introduction:
        """Return what is said before the question."""
        what = "the task app of your task" if project_folder(ctx.data) else "the Banking77 task app"
        rows = "its labelled rows" if project_folder(ctx.data) else "labelled bank customer queries"
        return Introduction(
            f"Starts {what} on this machine: a small server that owns {rows}, "
            f"asks the model about one of them at a time and scores the answer. Its rows: {data_in_words(ctx.data)}.",
            f"mipro-walk task-app start --port {ctx.options.task_app_port}",
            "two seconds",
        )

    def may_skip(self, ctx: Context) -> bool:
        """Whether a task app runs already."""
        return ctx.services.task_app() is not None

    def choices(self, ctx: Context) -> tuple[Choice, ...]:
        """Return the choice of the data, unless an option made it."""
        return () if ctx.options.data else (Choice("d", "other data"),)

    def choose(self, ctx: Context, key: str) -> None:
        """Ask for the source of the rows."""
        question = Question(
            "Which rows?",
            (Choice("1", SOURCES[SAMPLE]), Choice("2", SOURCES[HUB])),
            default="1",
            flag="--data sample|hub|PATH",
        )
        chosen = HUB if ctx.ui.ask(question) == "2" else SAMPLE
        ctx.ui.say("Rows of your own: start again with --data PATH (a CSV, JSONL or Parquet file, or a folder).")
        ctx.remember(ctx.state.with_choice("data", chosen))

    def run(self, ctx: Context) -> StepResult:
        """Start it, or use the one that runs, and show what it is about."""
        app = ensure_task_app(ctx)
        with contextlib.closing(task_app_client(ctx, app)) as client:
            info = client.info({})
        show_task_app(ctx, app, info)
        return StepResult({"url": app.url, "pid": app.pid, "source": info.source})


def ensure_task_app(ctx: Context) -> TaskApp:
    """Return the task app in use, starting it if there is none.

    Raises:
        UnreachableError: the port is taken by somebody else and nobody can be asked, or it does not start.
    """
    running = ctx.services.task_app()
    if running is not None:
        return running
    key = environment_key(ctx.environ, ctx.workdir).value
    if project_folder(ctx.data) is None:
        data_arguments(ctx.data)  # a wrong path is told before anything else
    port = ctx.options.task_app_port
    holder = port_holder(port, key, ctx.data)
    if holder is not None:
        settled = _settle(ctx, holder, port)
        if settled is None:
            return ctx.services.use_task_app(holder)
        port = settled
    with ctx.ui.working("Starting the task app …"):
        return ctx.services.start_task_app(key, port, ctx.data, ctx.workdir.task_app_log)


def task_app_client(ctx: Context, app: TaskApp) -> TaskAppClient:
    """Return a client of the task app with our key; the caller closes it."""
    return TaskAppClient(app.url, environment_key(ctx.environ, ctx.workdir).value, rollout_timeout_seconds=30.0)


def show_task_app(ctx: Context, app: TaskApp, info: TaskAppInfo) -> None:
    """Show where it runs, what it is about and where its rows come from."""
    whose = "" if app.started_here else " (it was running already)"
    ctx.ui.done(f"Task app is running at {app.url}{whose}")
    fields = [("PID", str(app.pid or "unknown"))] + ([("log", app.log)] if app.log else [])
    ctx.ui.fields([*fields, ("rows", _rows_in_words(info)), ("source", info.source)])
    ctx.ui.document(_as_document(info), "json")


def data_in_words(data: str) -> str:
    """Return where the rows come from."""
    if project_folder(data):
        return f"those of the task {service_of(data)}, in {data}"
    return SOURCES.get(data, f"your own, from {data}")


def _settle(ctx: Context, holder: PortHolder, port: int) -> int | None:
    """Decide about a taken port: ``None`` to use what runs there, else the port to take. Nothing is ever stopped."""
    is_ours = holder.is_usable and holder.record is not None
    if is_ours and not ctx.options.data and not ctx.ui.is_interactive:
        return None
    taken = f"Port {port} is taken by {holder}."
    if not ctx.ui.is_interactive:
        raise UnreachableError(taken, "Pass --task-app-port 0 for a free one, or stop that process.")
    use = (Choice("u", "use the task app that runs there"),) if holder.is_usable else ()
    choices = (*use, Choice("f", "take a free port"), Choice("q", "quit"))
    answer = ctx.ui.ask(Question(taken, choices, "u" if is_ours else "f", "--task-app-port 0"))
    if answer == "q":
        raise QuitRequested
    return None if answer == "u" else 0


def _rows_in_words(info: TaskAppInfo) -> str:
    return ", ".join(f"{name} {count}" for name, count in info.split_rows.items()) or "not said"


def _as_document(info: TaskAppInfo) -> str:
    lines = [
        f'"task_app_id": {json.dumps(info.task_app_id)}',
        f'"dataset_size": {json.dumps(info.raw.get("dataset_size"))}',
        f'"labels": [{_short(info.labels)}]',
    ]
    return "{\n  " + ",\n  ".join(lines) + "\n}"


def _short(labels: Sequence[str]) -> str:
    shown = [json.dumps(label, ensure_ascii=False) for label in labels[:SHOWN_LABELS]]
    rest = len(labels) - len(shown)
    return ", ".join([*shown, f"... {rest} more"] if rest else shown)
