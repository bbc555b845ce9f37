"""The command line: registers the commands, and is the one place where an error becomes text and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer._click.exceptions import UsageError  # Typer carries its Click and re-exports only part of it
from typer.core import TyperGroup, TyperOption

from mipro_walk.cli import (
    backend_command,
    compare_command,
    config_command,
    doctor_command,
    eval_command,
    export_command,
    init_command,
    jobs_command,
    key_command,
    model_command,
    models_command,
    optimize_command,
    paths_command,
    report_command,
    results_command,
    run_command,
    stop_command,
    task_app_command,
    train_command,
    version_command,
)
from mipro_walk.cli.console import COLOR_VARIABLE, ColorMode, activation_hint, prepare_streams, stderr_console
from mipro_walk.errors import ConfigError, MiproWalkError
from mipro_walk.version import VERSION

PROGRAM = "mipro-walk"
ENV_PREFIX = "MIPRO_WALK_"
INTERRUPTED = 130
MAX_HELP_CHARS = 110

EPILOG = """\
\b
Exit codes:
  0    done (a stop at the budget, time or target score counts as done)
  1    the job failed
  2    wrong usage or configuration
  3    this machine lacks something
  4    a key is missing or was refused
  5    task app, backend or model does not answer
  6    score below --fail-under
  7    incomplete, can be resumed
  130  interrupted by Ctrl-C; 143 and 129 by SIGTERM and SIGHUP

\b
Every option can also be set in the environment: --max-cost-usd is MIPRO_WALK_MAX_COST_USD.
Talk goes to standard error, data to standard output. Nothing is sent anywhere but to the
model, backend and task app you name; there is no telemetry.
"""

SECTIONS = {
    "The walkthrough": ("run", "doctor", "key", "task-app", "config", "train", "results", "report", "export"),
    "Your own task": ("init",),
    "Jobs": ("jobs", "resume", "cancel", "optimize", "compare", "eval"),
    "Models": ("models",),
    "Servers": ("backend", "model", "stop"),
    "About": ("paths", "version"),
}


class SectionedGroup(TyperGroup):
    """Lists the commands by what they are for."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one block for each section; commands in none of them come last."""
        known = {name for names in SECTIONS.values() for name in names}
        rest = tuple(name for name in self.list_commands(ctx) if name not in known)
        for title, names in {**SECTIONS, "More": rest}.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            rows = [
                (name, command.get_short_help_str(MAX_HELP_CHARS)) for name, command in commands if command is not None
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=16)


def build() -> TyperGroup:
    """Return the whole command tree, each option with its environment variable."""
    command = typer.main.get_command(app)
    assert isinstance(command, TyperGroup)
    _name_variables(command)
    return command


def main(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code."""
    from mipro_walk.processes import install_termination_handlers

    prepare_streams()
    install_termination_handlers()
    is_debug = "--debug" in arguments or bool(os.environ.get("MIPRO_WALK_DEBUG"))
    try:
        result = build().main(args=list(arguments), prog_name=PROGRAM, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except UsageError as exc:
        exc.show()
        return exc.exit_code
    except MiproWalkError as exc:
        if is_debug:
            traceback.print_exc()
        report(exc)
        return exc.exit_code
    except (KeyboardInterrupt, typer.Abort):
        stderr_console().print("\nInterrupted.")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (lives to the end of the process)
        return 0
    except Exception as exc:  # the boundary: everything expected is above
        return _report_defect(exc, is_debug=is_debug)


def run() -> None:
    """Entry point of the console script."""
    sys.exit(main(sys.argv[1:]))


def report(error: MiproWalkError) -> None:
    """Print what happened, every problem, and what to do next."""
    from rich.text import Text

    from mipro_walk.cli.visible import visible

    console = stderr_console()

    def show(label: str, text: str, style: str) -> None:
        line = Text(f"{label} ", style=style)
        line.append(visible(text, console.encoding, keep_newlines=True), style="not bold default")
        console.print(line, soft_wrap=True)

    show("Error:", error.message, "bold red")
    for problem in error.problems if isinstance(error, ConfigError) else []:
        show(" -", problem, "")
    if error.fix:
        show("Fix:", error.fix, "bold cyan")
        if f"{PROGRAM} " in error.fix and (hint := activation_hint()):
            show("First:", hint, "dim")


def _report_defect(error: Exception, *, is_debug: bool) -> int:
    """A mistake of ours: keep the traceback in a file, or show it with ``--debug``."""
    if is_debug:
        traceback.print_exc()
        return 1
    from mipro_walk.paths import home, write_private

    path = home() / "crash.log"
    write_private(path, "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace"))
    name = type(error).__name__
    report(MiproWalkError(f"Unexpected {name}. This is a defect of {PROGRAM}.", f"See {path}, or repeat with --debug."))
    return 1


def _name_variables(command: Any) -> None:
    for parameter in command.params:
        if isinstance(parameter, TyperOption) and parameter.envvar is None and parameter.expose_value:
            longest = max(parameter.opts, key=len)
            parameter.envvar = ENV_PREFIX + longest.strip("-").replace("-", "_").upper()
            parameter.show_envvar = False
    for child in getattr(command, "commands", {}).values():
        _name_variables(child)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {VERSION}")
        raise typer.Exit


app = typer.Typer(
    name=PROGRAM,
    cls=SectionedGroup,
    no_args_is_help=True,
    # Plain help: it starts twice as fast as the decorated one and reads the same in a pipe.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)


@app.callback()
def _root(
    ctx: typer.Context,
    color: Annotated[ColorMode, typer.Option(help="When to use colours.")] = "auto",
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    env_file: Annotated[
        Path | None,
        typer.Option("--env-file", metavar="FILE", help="Read settings and keys from a .env file, beneath the others."),
    ] = None,
    no_user_config: Annotated[
        bool, typer.Option("--no-user-config", help="Leave your own mipro_walk.toml out of account.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find a better prompt and prove it.

    Start with `mipro-walk run`: six steps from nothing to an optimized prompt, without any key.
    """
    if color != "auto":
        os.environ[COLOR_VARIABLE] = color
    if no_user_config:
        os.environ["MIPRO_WALK_NO_USER_CONFIG"] = "1"
    if env_file is not None:
        from mipro_walk.cli.env_file import load_env_file
        from mipro_walk.cli.visible import visible

        loaded = load_env_file(env_file, os.environ)
        ctx.obj = loaded.places
        for note in loaded.notes:
            typer.echo(f"WARN {visible(note)}", err=True)


app.command()(run_command.run)
app.command()(init_command.init)
app.command()(doctor_command.doctor)
app.command()(key_command.key)
app.add_typer(task_app_command.app, name="task-app")
app.add_typer(config_command.app, name="config")
app.command()(train_command.train)
app.command()(results_command.results)
app.command()(report_command.report)
app.command()(export_command.export)
app.command()(jobs_command.jobs)
app.command()(train_command.resume)
app.command()(optimize_command.optimize)
app.command()(compare_command.compare)
app.command("eval")(eval_command.evaluate)
app.command()(jobs_command.cancel)
app.command()(backend_command.backend)
app.add_typer(model_command.app, name="model")
app.add_typer(models_command.app, name="models")
app.command()(stop_command.stop)
app.command()(paths_command.paths)
app.command()(version_command.version)
