"""``mipro-walk config create|show|check``: make a configuration, see what it means, find what is wrong with it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError

if TYPE_CHECKING:  # pydantic is heavy; --help does without it
    from mipro_walk.config import RunConfig

DEFAULT_FILE = Path("mipro_config.toml")

app = typer.Typer(no_args_is_help=True, help="Make, show and check configuration files.")

ConfigPath = Annotated[Path, typer.Argument(help="The configuration file.", show_default=True)]
CheckedPath = Annotated[Path, typer.Argument(help="The configuration file, or a project folder.", show_default=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON object to standard output.")]


def _complete_profile(incomplete: str) -> list[str]:
    from mipro_walk.config import PROFILES

    return [name for name in PROFILES if name.startswith(incomplete)]


@app.command("create")
def create(
    path: ConfigPath = DEFAULT_FILE,
    profile: Annotated[
        str,
        typer.Option(help="walkthrough, groq, quick-local, production or gepa.", autocompletion=_complete_profile),
    ] = "quick-local",
    algorithm: Annotated[
        str | None, typer.Option(metavar="NAME", help="mipro or gepa; by default the profile's.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value, such as budget=200 or policy.model=gpt-4o."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a ready-made configuration with an explanation above every key.

    Example: mipro-walk config create my.toml --profile walkthrough --set budget=200
    """
    from mipro_walk.config import describe_profile, write_config
    from mipro_walk.core.settings import algorithm_named

    named = None if algorithm is None else algorithm_named(algorithm)
    config = write_config(path, profile, dict(map(_key_and_value, changes or [])), algorithm=named, force=force)
    typer.echo(f"Wrote {path} (profile {profile}). {describe_profile(profile, named)}", err=True)
    typer.echo(f"Start it with: mipro-walk train {path} --poll", err=True)
    if as_json:
        _print_json({"path": str(path), "profile": profile, "config_hash": config.config_hash})


@app.command("show")
def show(
    ctx: typer.Context,
    path: ConfigPath = DEFAULT_FILE,
    origin: Annotated[bool, typer.Option("--origin", help="Say for each value where it comes from.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what a configuration means: every value, with defaults and environment variables applied."""
    from mipro_walk.config import load_config

    config = load_config(path)
    _report_ignored(config)
    origins = _with_env_file(config.origins, ctx.obj or {})
    if as_json:
        document = {"config": config.as_dict(), "config_hash": config.config_hash, "ignored": list(config.ignored)}
        _print_json(document | ({"origins": origins} if origin else {}))
    elif origin:
        typer.echo("\n".join(_origin_lines(config, origins)))
    else:
        import tomli_w

        typer.echo(tomli_w.dumps(_with_short_seeds(config.as_dict())), nl=False)


@app.command("check")
def check(path: CheckedPath = DEFAULT_FILE, as_json: AsJson = False) -> None:
    """Check a configuration, or a whole project folder, and name everything that is wrong; exit 2 if anything is.

    \b
    Examples:
      mipro-walk config check mipro_config.toml
      mipro-walk config check my-task
    """
    from mipro_walk.config import load_config

    if path.is_dir() or path.name == "task.toml":
        _check_project(path if path.is_dir() else path.parent, as_json)
        return

    try:
        config = load_config(path)
    except ConfigError as exc:
        if as_json:
            problems = exc.problems or [exc.message]
            _print_json({"path": str(path), "ok": False, "problems": problems, "fix": exc.fix})
            raise typer.Exit(exc.exit_code) from None
        raise
    _report_ignored(config)
    typer.echo(f"OK: {path} is a valid configuration.", err=True)
    if as_json:
        hash_ = config.config_hash
        _print_json({"path": str(path), "ok": True, "problems": [], "ignored": [*config.ignored], "config_hash": hash_})


def _check_project(folder: Path, as_json: bool) -> None:
    from mipro_walk.cli.console import stderr_console
    from mipro_walk.cli.init_screen import finding_checks
    from mipro_walk.cli.ui import TerminalUi
    from mipro_walk.project.checking import check_project

    found = check_project(folder)
    if as_json:
        _print_json({"path": str(folder), **found.as_dict()})
    if not as_json and found.findings:
        TerminalUi(stderr_console(), is_interactive=False).checks(finding_checks(found.findings))
    if found.problems:
        count = counted(len(found.problems), "problem")
        error = ConfigError(f"{folder}: {count} in the project.", found.fix, problems=list(found.problems))
        if as_json:
            raise typer.Exit(error.exit_code)
        raise error
    sizes = ", ".join(f"{split} {rows:,}" for split, rows in found.rows.items())
    typer.echo(f"OK: {folder} is a valid project ({sizes} rows; {found.dropped:,} left out).", err=True)


def _report_ignored(config: RunConfig) -> None:
    for name in config.ignored:
        typer.echo(f"Accepted, not used here: {name}", err=True)


def _with_env_file(origins: Mapping[str, str], places: Mapping[str, str]) -> dict[str, str]:
    """Return the origins with file and line of each variable that came from an env file."""
    named = {f"environment {name}": f"env file {place} {name}" for name, place in places.items()}
    return {key: named.get(origin, origin) for key, origin in origins.items()}


def _origin_lines(config: RunConfig, origins: Mapping[str, str]) -> list[str]:
    """Return ``key = value  # origin`` for every key that has a value, aligned."""
    document = config.as_dict()
    rows = []
    for dotted, source in origins.items():
        value: Any = document
        for step in dotted.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if value is not None:
            rows.append((f"{dotted} = {_seeds_in_words(value)}", source))
    width = min(max(len(left) for left, _ in rows), 70)
    return [f"{left:<{width}}  # {source}" for left, source in rows]


def _seeds_in_words(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} seeds, {min(value)} to {max(value)}"
    return json.dumps(value, ensure_ascii=False)


def _with_short_seeds(document: dict[str, Any]) -> dict[str, Any]:
    """Write runs of seeds as ranges, so that the page stays readable; it loads all the same."""
    mipro = document["prompt_learning"]["mipro"]
    for key, value in mipro.items():
        if isinstance(value, list) and len(value) > 3 and value == list(range(value[0], value[-1] + 1)):
            mipro[key] = [{"start": value[0], "end": value[-1] + 1}]
    return document


def _key_and_value(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r} is not of the form KEY=VALUE.", "Write for example --set budget=200")
    return key.strip(), _toml_value(value.strip())


def _toml_value(text: str) -> Any:
    """Return a TOML number, true, false or list of numbers; everything else is text."""
    if len(text) > 1000 or not text.startswith(tuple("+-0123456789[tf")):
        return text
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return document["value"] if len(document) == 1 else text


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json.dumps({"schema_version": 1, **document}, ensure_ascii=False, indent=2))
