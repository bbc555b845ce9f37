"""``mipro-walk models test|list|trust``: what a model can do, what there is, and who may see a key."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mipro_walk.cli.consent import require_consent
from mipro_walk.cli.console import stdout_console
from mipro_walk.cli.options import JsonOption, ModelPathOption, print_json
from mipro_walk.cli.trusting import ask_to_trust, load_asking
from mipro_walk.cli.visible import visible
from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError

if TYPE_CHECKING:  # heavy; --help does without them
    from mipro_walk.config import Role, RunConfig
    from mipro_walk.gateways import Gateways
    from mipro_walk.model_checks import Report

Which = Literal["policy", "meta", "both"]
LIST_SECONDS = 30.0
MIN_REASONED_ANSWER = 2048
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*_API_KEY")

app = typer.Typer(no_args_is_help=True, help="Try model endpoints, and say which hosts may see a key.")

ConfigPath = Annotated[Path, typer.Argument(help="The configuration file.")]
RoleOption = Annotated[Which, typer.Option("--role", help="Which of the two models.")]


@app.command("test")
def check_models(
    config: ConfigPath = Path("mipro_config.toml"),
    role: RoleOption = "both",
    as_json: JsonOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to calls that cost money.")] = False,
    model_path: ModelPathOption = None,
) -> None:
    """Send a few small requests to each model and say what works: formats, tools, seed, token counts.

    Exit 4 if the key is refused, 5 if nobody answers, 2 if there is no such model or the configured output_mode does
    not work with it.

    Example: mipro-walk models test mipro_config.toml --role policy
    """
    from mipro_walk.model_checks import Examination

    loaded = load_asking(config)
    roles = _distinct(loaded, role)
    models = [loaded.model(name) for name in roles]
    require_consent(models, "A handful of small requests each", "Pass --yes to agree.", yes=yes)
    reports: dict[Role, Report] = {}
    with _gateways(loaded, model_path) as gateways:
        for name in roles:
            model = loaded.model(name)
            limit = max(MIN_REASONED_ANSWER, model.max_completion_tokens) if model.options.reasoning_effort else 32
            mode = loaded.policy.output_mode if name == "policy" else None
            reports[name] = Examination(partial(gateways.make, name), max_answer=limit).run(mode)
            if not as_json:
                _show(name, reports[name])
    if as_json:
        print_json({"roles": {name: report.as_dict() for name, report in reports.items()}})
    _require_output_mode(reports)


@app.command("list")
def list_(
    config: ConfigPath = Path("mipro_config.toml"), role: RoleOption = "policy", as_json: JsonOption = False
) -> None:
    """List the models that the configured endpoints offer.

    Example: mipro-walk models list mipro_config.toml
    """
    from mipro_walk.clients.listing import list_models

    loaded = load_asking(config)
    found: dict[str, Any] = {}
    with _gateways(loaded, None) as gateways:
        for name in _distinct(loaded, role):
            model = loaded.model(name)
            if model.provider == "local":
                found[name] = {"base_url": None, "models": [model.model]}
                continue
            endpoint = gateways.endpoint(model)
            names = list_models(endpoint, model.options.extra_headers or {}, LIST_SECONDS)
            found[name] = {"base_url": endpoint.base_url, "models": names}
    if as_json:
        print_json({"roles": found})
        return
    for listed in found.values():
        typer.echo("\n".join(visible(name) for name in listed["models"]))


@app.command("trust")
def trust(
    host: Annotated[str | None, typer.Argument(metavar="[HOST]", help="A host or URL; without it: the list.")] = None,
    variable: Annotated[
        str, typer.Option("--variable", metavar="NAME", help="The variable whose value may be sent there.")
    ] = "MIPRO_WALK_API_KEY",
    remove: Annotated[bool, typer.Option("--remove", help="Trust the host no longer.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Confirm that prompts, and the key in a variable, may be sent to a host. Kept in your data folder.

    Example: mipro-walk models trust https://openrouter.ai --variable OPENROUTER_API_KEY
    """
    from mipro_walk.config.trust import confirm, confirmed, withdraw
    from mipro_walk.paths import home

    if host is not None:
        url = _checked_url(host)
        if remove:
            gone = withdraw(url, home())
            typer.echo(f"{counted(len(gone), 'confirmation')} removed for {visible(url)}.", err=True)
        else:
            if not VARIABLE.fullmatch(variable):
                raise ConfigError(f"--variable {variable!r} is not usable.", "Name a variable that ends in _API_KEY.")
            ask_to_trust([(url, variable)], yes=yes)
            confirm(url, variable, home())
    pairs = confirmed(home())
    if as_json:
        print_json({"hosts": [{"host": origin, "variable": name} for origin, name in pairs]})
    else:
        for origin, name in pairs:
            typer.echo(f"{visible(origin)}  {visible(name)}")


def _checked_url(host: str) -> str:
    """Return the URL to trust; a bare host means https."""
    from mipro_walk.clients.endpoints import Endpoint

    return Endpoint("custom", host if "://" in host else f"https://{host}", "any").base_url


def _distinct(config: RunConfig, role: Which) -> list[Role]:
    """Return the roles to look at; two that are the same model are one."""
    if role != "both":
        return [role]
    return ["policy"] if config.meta_as_policy else ["policy", "meta"]


@contextmanager
def _gateways(config: RunConfig, model_path: Path | None) -> Iterator[Gateways]:
    from mipro_walk.backend.local_model import LocalModel
    from mipro_walk.clients.gateway_thread import GatewayThread
    from mipro_walk.config.trust import load_trust
    from mipro_walk.gateways import Gateways, key_note
    from mipro_walk.paths import home

    local = LocalModel(home(), model_path)
    try:
        with GatewayThread() as thread:
            gateways = Gateways(config, dict(os.environ), load_trust(), local.endpoint, thread.loop)
            for model in (config.model("policy"), config.meta):
                if model.provider == "custom" and (note := key_note(gateways.endpoint(model), os.environ)):
                    typer.echo(f"Note: {visible(note)}.", err=True)
                    break
            yield gateways
    finally:
        local.stop()


def _show(role: str, report: Report) -> None:
    console = stdout_console()
    answered = f", answers as {report.model_answered}" if report.model_answered not in ("", report.model) else ""
    lines = [f"{role}: {report.provider}/{report.model} at {report.base_url}{answered}"]
    lines += [f"  {check.status:<4}  {check.name:<18}  {check.detail}" for check in report.checks]
    if report.refused_fields:
        lines.append(f"  Left out or replaced, because refused: {', '.join(report.refused_fields)}")
    cost = "unknown" if report.usage.cost_usd is None else f"${report.usage.cost_usd:.6f}"
    tokens = report.usage.prompt_tokens + report.usage.completion_tokens
    used = f"{counted(report.usage.calls, 'request')}, {counted(tokens, 'token')}, cost {cost}"
    lines.append(f"  {report.latency_seconds:.2f} s for an answer (median); {used}")
    lines.append(f'  Fitting: output_mode = "{report.output_mode}"')
    for line in lines:
        console.print(visible(line, console.encoding), soft_wrap=True)


def _require_output_mode(reports: dict[Role, Report]) -> None:
    for name, report in reports.items():
        for check in report.checks:
            if check.status == "FAIL":
                raise ConfigError(
                    f"{name}: {check.name} does not work with {report.model}.",
                    f'Set output_mode = "{report.output_mode}" in [prompt_learning.policy].',
                )
