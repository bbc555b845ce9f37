"""Step 4: the configuration, and what a run of it will take."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Mapping
from typing import Any

from mipro_walk.clients.task_app import TaskAppClient, TaskAppInfo
from mipro_walk.config import (
    PROFILES,
    Pool,
    RunConfig,
    apply_overrides,
    describe_profile,
    get_profile,
    load_config,
    with_algorithm,
    write_config,
)
from mipro_walk.core.algorithms import plan_for
from mipro_walk.core.gepa_search.plan import GepaPlan
from mipro_walk.core.plan import Plan, SearchPlan
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.core.splits import clean
from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError
from mipro_walk.forecast import Forecast, PhaseForecast, Range, cost_in_words, forecast, time_in_words
from mipro_walk.loopback import is_loopback
from mipro_walk.paths import write_private
from mipro_walk.project.definition import CONFIG_FILE
from mipro_walk.types import Split, Task
from mipro_walk.walkthrough.context import Context, StepResult
from mipro_walk.walkthrough.profile import chosen_profile, require_provider_key
from mipro_walk.walkthrough.services import project_folder
from mipro_walk.walkthrough.steps import Introduction
from mipro_walk.walkthrough.steps.task_app import ensure_task_app, task_app_client
from mipro_walk.walkthrough.ui import Choice, Question

MAX_POOL_ROWS = 500
PINNED: Split = "pinned"
_LONG_ARRAY = re.compile(r"\[\s*(\d+(?:[\s,]+\d+){8,}),?\s*\]")
POOL_KEYS = (("train", "bootstrap_train_seeds"), ("val", "online_pool"), ("test", "test_pool"))


class Configuration:
    """Writes ``mipro_config.toml`` and shows the plan."""

    number = 4
    title = "Configuration"

    def introduce(self, ctx: Context) -> Introduction:
        """Return what is said before the question."""
        name = chosen_profile(ctx)
        project = project_folder(ctx.data)
        if self._is_kept(ctx):
            _refuse_other_choices(ctx)
            text = f"There is a configuration already: {ctx.workdir.config}. It is checked, kept and shown."
        elif project is not None:
            text = (
                f"Takes the project's own {project / CONFIG_FILE}: it is checked, copied and shown. No profile is used."
            )
            return Introduction(text, f"mipro-walk config check {shlex.quote(str(project))}", "a second")
        else:
            text = (
                "Writes mipro_config.toml: the model, the rows, the size of the search and its limits, each key "
                f"explained. Profile {name}: {describe_profile(name, ctx.options.algorithm)}"
            )
        command = f"mipro-walk config create {ctx.workdir.config} --profile {name}"
        if ctx.options.algorithm:
            command += f" --algorithm {ctx.options.algorithm}"
        return Introduction(text, command, "a second")

    def may_skip(self, ctx: Context) -> bool:
        """Whether there is a configuration."""
        return ctx.workdir.config.exists()

    def choices(self, ctx: Context) -> tuple[Choice, ...]:
        """Return the choice of a profile, or of a new file over the one there is."""
        if self._is_kept(ctx):
            return (Choice("w", "write a new one"),)
        if project_folder(ctx.data) is not None:
            return ()
        return () if ctx.options.profile else (Choice("p", "other profile"),)

    def choose(self, ctx: Context, key: str) -> None:
        """Ask for the profile."""
        names = list(PROFILES)
        choices = tuple(Choice(str(n), f"{name}: {PROFILES[name].description}") for n, name in enumerate(names, 1))
        default = str(names.index(chosen_profile(ctx)) + 1)
        chosen = names[int(ctx.ui.ask(Question("Which profile?", choices, default, "--profile NAME"))) - 1]
        ctx.remember(ctx.state.with_choice("profile", chosen))
        if key == "w":
            ctx.facts["overwrite_config"] = True

    def run(self, ctx: Context) -> StepResult:
        """Write or check the file, show it, show the plan."""
        app = ensure_task_app(ctx)
        _adopt_project_config(ctx)
        with contextlib.closing(task_app_client(ctx, app)) as client:
            config = self._keep(ctx, app.url) if self._is_kept(ctx) else self._write(ctx, client, app.url)
            ctx.ui.document(shorten(ctx.workdir.config.read_text(encoding="utf-8")), "toml")
            ctx.ui.say("Shortened; the file itself explains every key.")
            for name in config.ignored:
                ctx.ui.warn(f"accepted, not used here: {name}")
            task = load_task(client, config)
        task, report = clean(task)
        for warning in report.warnings:
            ctx.ui.warn(warning)
        plan = plan_for(config.settings, task)
        expected = forecast(config, task, plan)
        show_plan(ctx, config, plan, expected)
        ctx.facts["forecast"] = expected
        return StepResult({"config": str(ctx.workdir.config), "plan": plan.as_dict(), "forecast": expected.as_dict()})

    @staticmethod
    def _is_kept(ctx: Context) -> bool:
        overwrite = ctx.options.overwrite_config or ctx.facts.get("overwrite_config", False)
        return ctx.workdir.config.exists() and ("adopted_config" in ctx.facts or not overwrite)

    @staticmethod
    def _keep(ctx: Context, url: str) -> RunConfig:
        _refuse_other_choices(ctx)
        config = load_config(ctx.workdir.config)
        if ctx.options.profile:
            ctx.ui.warn(f"--profile {ctx.options.profile} is not used: {_kept_file(ctx)} is. {_way_out(ctx)}")
        ctx.ui.done(f"Configuration kept: {ctx.workdir.config} is valid")
        if config.task_app_url != url and is_loopback(config.task_app_url):
            ctx.ui.warn(f"It names the task app {config.task_app_url}; this run uses {url}.")
        return config

    @staticmethod
    def _write(ctx: Context, client: TaskAppClient, url: str) -> RunConfig:
        name = chosen_profile(ctx)
        require_provider_key(name, ctx.environ)
        overrides = _overrides(ctx, name, client, url)
        write_config(ctx.workdir.config, name, overrides, algorithm=ctx.options.algorithm, force=True)
        ctx.facts.pop("overwrite_config", None)
        ctx.ui.done(f"Configuration written: {ctx.workdir.config}")
        return load_config(ctx.workdir.config)  # with the environment's changes, as step 5 will see it


def _adopt_project_config(ctx: Context) -> None:
    """Put a project's own configuration into the work folder, unless one is kept there."""
    project = project_folder(ctx.data)
    if project is None or Configuration._is_kept(ctx):
        return
    source = project / CONFIG_FILE
    load_config(source)  # a broken one is told under its own name
    write_private(ctx.workdir.config, source.read_bytes())
    ctx.facts.pop("overwrite_config", None)
    ctx.facts["adopted_config"] = str(source)


def show_plan(ctx: Context, config: RunConfig, plan: SearchPlan, expected: Forecast) -> None:
    """Show calls, tokens, money and time by phase."""
    detail = _gepa_details(plan) if isinstance(plan, GepaPlan) else _mipro_details(config, plan)
    ctx.ui.say("")
    ctx.ui.say("What a run of this will take, at most:")
    rows = [_phase_row(phase, detail[phase.name]) for phase in expected.phases if phase.calls or phase.proposals]
    tokens = sum(phase.prompt_tokens + phase.completion_tokens for phase in expected.phases)
    total = ("All", str(expected.calls), f"{tokens:,}", _dollars(expected.cost_usd), time_in_words(expected.seconds))
    beside = f"and {counted(expected.proposals, 'proposal')}"
    if expected.judgements:
        beside += f", {counted(expected.judgements, 'answer')} to judge"
    ctx.ui.table(("Phase", "Calls", "Tokens", "Cost", "What"), [*rows, (*total[:4], beside)])
    model = f"{config.policy.provider}/{config.policy.model}"
    ctx.ui.fields([("model", model), ("time", total[4]), ("cost", cost_in_words(expected.cost_usd))])


def _mipro_details(config: RunConfig, plan: SearchPlan) -> dict[str, str]:
    settings = config.settings
    assert isinstance(plan, Plan)
    assert isinstance(settings, OptimizerSettings)
    sizes = " > ".join(str(rung.members) for rung in plan.rungs)
    return {
        "Bootstrap": f"{counted(settings.num_bootstrap_seeds, 'round')} of {counted(plan.bootstrap_rows, 'train row')}",
        "Search": f"{counted(settings.num_iterations, 'iteration')}, {sizes} candidates on val rows",
        "Final test": f"baseline and winner, {counted(plan.test_rows, 'unseen row')} each",
        "Ablation": f"their parts alone, {plan.ablation_rows} of these rows each",
    }


def _gepa_details(plan: GepaPlan) -> dict[str, str]:
    return {
        "Baseline": f"the starting instruction on {counted(plan.pareto_rows, 'val row')}",
        "Evolution": f"about {counted(plan.steps, 'step')}: 2 x {counted(plan.minibatch, 'train row')}, "
        f"{plan.pareto_rows} val if accepted",
        "Final test": f"baseline and winner, {counted(plan.test_rows, 'unseen row')} each",
    }


def _phase_row(phase: PhaseForecast, detail: str) -> tuple[str, str, str, str, str]:
    tokens = f"{phase.prompt_tokens + phase.completion_tokens:,}"
    return phase.name, str(phase.calls), tokens, _dollars(phase.cost_usd), detail


def _dollars(cost: Range | None) -> str:
    return "unknown" if cost is None else f"${cost[1]:.3f}" if cost[2] else "$0"


def _refuse_other_choices(ctx: Context) -> None:
    """Keep a file that is there, or a project's own, from being taken for what was asked for."""
    config = load_config(ctx.workdir.config)
    choices = (
        ("--algorithm", ctx.options.algorithm, config.settings.algorithm),
        ("--rng-seed", ctx.options.rng_seed, config.settings.rng_seed),
        ("--num-intents", ctx.options.num_intents, config.env_config.get("num_intents", "not set")),
    )
    for option, asked, found in choices:
        if asked is not None and asked != found:
            raise ConfigError(f"{option} {asked} was asked for, and {_kept_file(ctx)} says {found}.", _way_out(ctx))


def _kept_file(ctx: Context) -> str:
    return str(ctx.facts.get("adopted_config") or ctx.workdir.config)


def _way_out(ctx: Context) -> str:
    if "adopted_config" in ctx.facts:
        return "A project is run as its file says: change it there, or leave the option out."
    return "Pass --overwrite-config to replace it, or --workdir DIR for another work folder."


def shorten(toml: str) -> str:
    """Return a configuration for the screen: no comments, long arrays of numbers by their ends."""
    lines = [line for line in toml.splitlines() if not line.lstrip().startswith("#")]
    text = _LONG_ARRAY.sub(_array_by_its_ends, "\n".join(lines))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _array_by_its_ends(found: re.Match[str]) -> str:
    numbers = found.group(1).replace(",", " ").split()
    return f"[{numbers[0]}, {numbers[1]}, ..., {numbers[-1]}]  # {counted(len(numbers), 'row')}"


def load_task(client: TaskAppClient, config: RunConfig) -> Task:
    """Return the rows that a configuration names, from the task app."""
    info = client.info(config.env_config)
    splits: Mapping[Split, Pool] = {"train": config.pools.train, "val": config.pools.val, "test": config.pools.test}
    rows = {name: client.rows(*_split_and_seeds(info, name, pool), config.env_config) for name, pool in splits.items()}
    return Task(
        name=info.task_app_id,
        description=info.description,
        instruction=config.baseline_instruction or info.instruction,
        train=rows["train"],
        val=rows["val"],
        test=rows["test"],
        labels=info.labels,
        kind=info.kind,
        fixed=info.fixed,
        pinned=client.rows(PINNED, range(info.split_rows.get(PINNED, 0)), config.env_config),
    )


def _split_and_seeds(info: TaskAppInfo, name: Split, pool: Pool) -> tuple[str, list[int]]:
    if pool.seeds is not None:
        return pool.split or info.default_split, list(pool.seeds)
    split = pool.split or name
    return split, list(range(min(info.split_rows.get(split, 0), MAX_POOL_ROWS)))


def _overrides(ctx: Context, profile: str, client: TaskAppClient, url: str) -> dict[str, Any]:
    """Return what differs from the profile: the app's real address and rows, and what the options say."""
    options = ctx.options
    overrides: dict[str, Any] = {"task_app_url": url}
    if options.num_intents is not None:
        overrides["env_config.num_intents"] = options.num_intents
    if options.rng_seed is not None:
        overrides["rng_seed"] = options.rng_seed
    if options.max_cost_usd is not None:
        overrides["max_cost_usd"] = options.max_cost_usd
    chosen = get_profile(profile).document
    chosen = with_algorithm(chosen, options.algorithm) if options.algorithm else chosen
    document = apply_overrides(chosen, overrides)["prompt_learning"]
    info = client.info(document.get("env_config", {}))
    for split, key in POOL_KEYS:
        wanted = document[document["algorithm"]][key]
        if split in info.split_rows and len(wanted) > info.split_rows[split]:
            overrides[key] = list(range(info.split_rows[split]))
    if "test_pool" in overrides:
        overrides["test_size"] = len(overrides["test_pool"])
    return overrides
