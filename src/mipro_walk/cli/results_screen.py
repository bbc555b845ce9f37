"""The results of a job on the screen, in the order in which people ask.

Is it better? What should I use? What does it say? How did the search go? Why? What did it cost? What now?
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mipro_walk.cli.charts import MAX_WIDTH, progress_chart
from mipro_walk.cli.console import NARROW, activation_hint, is_ascii_only
from mipro_walk.cli.explanations_screen import render_explanations
from mipro_walk.cli.progress_words import cost_in_words, duration
from mipro_walk.cli.screen_parts import heading
from mipro_walk.cli.visible import foreign, one_line, visible
from mipro_walk.counting import agreeing, counted
from mipro_walk.results import BEST_PROMPT, EXPLANATIONS, JOB_METADATA, REPORT, SCORE_HISTORY
from mipro_walk.results.usage import local_server_command, usage_in_python, usage_title
from mipro_walk.results.words import (
    disagreement_in_words,
    indifference_in_words,
    power_in_words,
    recommendation_in_words,
    unknown_in_words,
    verdict_in_words,
)

MAX_DEMONSTRATIONS = 12
QUERY_WIDTH = 200
CONFIG_NAME, TASK_NAME = "mipro_config.toml", "task.toml"
Documents = Mapping[str, Mapping[str, Any]]


def render(documents: Documents, console: Console, *, folder: Path | None = None) -> None:
    """Print the results.

    Args:
        documents: the result documents by file name; without ``score_history.json``, ``explanations.json`` or
            ``job_metadata.json`` the parts that need them are left out.
        folder: where the files lie, for the commands of the last part.
    """
    best = documents[BEST_PROMPT]
    history, metadata = documents.get(SCORE_HISTORY), documents.get(JOB_METADATA)
    _verdict(best, console)
    if warning := indifference_in_words((documents.get(EXPLANATIONS) or {}).get("judge")):
        console.print(Text(f"WARN {warning}", style="yellow"))
    _recommendation(best, console)
    _instruction(best, console)
    _demonstrations(best["demonstrations"], console)
    if history:
        _progression(history, console)
    if explanations := documents.get(EXPLANATIONS):
        render_explanations(explanations, console)
    if metadata:
        _cost(history or {}, metadata, console)
        _forecast(metadata, console)
    _next_steps(best, metadata or {}, folder, console)


def _verdict(best: Mapping[str, Any], console: Console) -> None:
    score = best.get("score")
    style = "bold yellow"
    if score and score["verdict"] != "no significant gain":
        style = "bold green" if score["verdict"] == "better" else "bold red"
    console.print()
    console.print(Text(verdict_in_words(best, is_ascii=is_ascii_only(console)), style=style))
    if score and score["n"]:
        gained = score["gained"]
        if score.get("excluded"):
            console.print(Text(unknown_in_words(score), style="yellow"))
        moved = f"{gained} {agreeing(gained, 'was', 'were')} gained and {score['lost']} lost. "
        console.print(Text(f"Of {counted(score['n'], 'row')} {moved}", style="dim"))
        if doubt := disagreement_in_words(score):
            console.print(Text(doubt, style="dim"))
        console.print(Text(power_in_words(score), style="dim"))


def _recommendation(best: Mapping[str, Any], console: Console) -> None:
    console.print(Text(f"Recommended: {recommendation_in_words(best)}"))


def _instruction(best: Mapping[str, Any], console: Console) -> None:
    if best["recommendation"] == "winner":
        source = (best.get("winner") or {}).get("instruction_source", "unknown")
    else:
        source = "baseline"
    heading(f"Instruction (source: {visible(source, console.encoding)})", console)
    text = foreign(best["instruction"]["content"], console, keep_newlines=True)
    console.print(Padding(text, (0, 0, 0, 2)))


def _demonstrations(demos: Sequence[Mapping[str, Any]], console: Console) -> None:
    heading(f"Demonstrations ({len(demos)})", console)
    if not demos:
        console.print(Text("  none: the instruction stands alone"))
        return
    shown = demos[:MAX_DEMONSTRATIONS]
    if console.width < NARROW:
        for demo in shown:
            console.print(foreign(f"  {_short(demo['query'], console)} => {_short(demo['label'], console)}", console))
    else:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("query", overflow="fold", ratio=3)
        table.add_column("label", overflow="fold")
        for demo in shown:
            query = Text(_short(demo["query"], console), overflow="fold")
            table.add_row(query, Text(_short(demo["label"], console), overflow="fold"))
        console.print(Padding(table, (0, 0, 0, 2)))
    if len(demos) > len(shown):
        dots = "..." if is_ascii_only(console) else "…"
        console.print(Text(f"  {dots} {len(demos) - len(shown)} more", style="dim"))


def _short(text: object, console: Console) -> str:
    return one_line(text, console.encoding, QUERY_WIDTH)


def _progression(history: Mapping[str, Any], console: Console) -> None:
    if not history.get("iterations"):
        return
    heading("Progression of the search", console)
    for line in progress_chart(history, width=min(console.width, MAX_WIDTH), is_ascii=is_ascii_only(console)):
        console.print(line, highlight=False)


def _cost(history: Mapping[str, Any], metadata: Mapping[str, Any], console: Console) -> None:
    heading("What it took", console)
    progress, usage = metadata.get("progress") or {}, metadata.get("usage") or {}
    data, models = metadata.get("data") or {}, metadata.get("models") or {}
    plan = history.get("plan") or metadata.get("plan") or {}
    test = history.get("test")
    tested = f"; the final test: {counted(test['n'], 'row')} for each prompt" if test else "; no final test"
    rows = [
        ("rollouts", f"{history.get('rollouts', '?')} of {plan.get('budget', '?')} to search{tested}"),
        ("model calls", _calls(usage)),
        ("tokens", _tokens(usage)),
        ("cost", cost_in_words(usage, models)),
        ("time", duration(float(metadata.get("seconds") or 0.0))),
        ("stopped", visible(metadata.get("stop_reason") or "?", console.encoding)),
        ("model", _model(models, console)),
        ("data", one_line(data.get("source") or "unknown", console.encoding, 300)),
    ]
    if progress.get("unknown"):
        rows.insert(1, ("unknown", f"{counted(progress['unknown'], 'rollout')} measured nothing and left out"))
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in rows:
        table.add_row(Text(f"  {name}", style="dim"), Text(value, overflow="fold"))
    console.print(table, highlight=False)


def _forecast(metadata: Mapping[str, Any], console: Console) -> None:
    """Print what was forecast beside what it took, phase by phase."""
    phases, actual = (metadata.get("forecast") or {}).get("phases"), metadata.get("usage_by_phase")
    if not phases or not actual:
        return
    console.print()
    if console.width < NARROW:
        _forecast_lines(phases, actual, console)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name, justify in (("  forecast / actual", "left"), ("calls", "right"), ("tokens", "right"), ("cost", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for phase in phases:
        table.add_row(Text(f"  {phase['name']}", style="dim"), *_expected_and_used(phase, actual))
    console.print(table, highlight=False)


def _forecast_lines(phases: Sequence[Mapping[str, Any]], actual: Mapping[str, Any], console: Console) -> None:
    """Print it where a terminal has no room for columns: a phase, then its figures one below the other."""
    console.print(Text("  forecast / actual", style="dim"))
    for phase in phases:
        console.print(Text(f"  {phase['name']}"))
        for name, value in zip(("calls", "tokens", "cost"), _expected_and_used(phase, actual), strict=True):
            console.print(Text(f"    {name}: {value}"), highlight=False)


def _expected_and_used(phase: Mapping[str, Any], actual: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return calls, tokens and cost of a phase, each as ``expected / used``."""
    used = actual.get(phase["name"]) or {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost_usd": 0.0}
    expected, spent = phase["prompt_tokens"] + phase["completion_tokens"], used["prompt_tokens"]
    return (
        f"{phase['calls'] + phase['proposals'] + phase.get('judgements', 0):,} / {used['calls']:,}",
        f"{expected:,} / {spent + used['completion_tokens']:,}",
        f"{_dollars((phase['cost_usd'] or {}).get('expected'))} / {_dollars(used['cost_usd'])}",
    )


def _dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"${cost:.3f}" if cost else "$0"


def _calls(usage: Mapping[str, Any]) -> str:
    calls = {role: int((part or {}).get("calls") or 0) for role, part in usage.items()}
    judge = f", {calls['judge']:,} to the judge" if calls.get("judge") else ""
    return f"{calls.get('policy', 0):,} to the policy model, {calls.get('meta', 0):,} to the meta-model{judge}"


def _tokens(usage: Mapping[str, Any]) -> str:
    prompt = sum(int((part or {}).get("prompt_tokens") or 0) for part in usage.values())
    completion = sum(int((part or {}).get("completion_tokens") or 0) for part in usage.values())
    return f"{prompt:,} in, {completion:,} out"


def _model(models: Mapping[str, Any], console: Console) -> str:
    policy = models.get("policy") or {}
    return one_line(f"{policy.get('provider', '?')}/{policy.get('model', '?')}", console.encoding, 200)


def _next_steps(best: Mapping[str, Any], metadata: Mapping[str, Any], folder: Path | None, console: Console) -> None:
    heading("What next", console)
    lines: list[tuple[str, list[str]]] = []
    if hint := activation_hint():
        lines.append(("Make the command known to your shell:", [hint]))
    if folder is not None:
        path = folder / BEST_PROMPT
        if (folder / REPORT).is_file():
            lines.append(("Look at all of it in a browser:", [str(folder / REPORT)]))
        lines.append(("See the whole prompt:", [f"cat {shlex.quote(str(path))}"]))
        if (best.get("model") or {}).get("provider") == "local":
            title = "Serve the local model; the key is needed where you use it, too:"
            lines.append((title, [local_server_command()]))
        lines.append((usage_title(best), usage_in_python(best, path)))
    if metadata.get("job_id"):
        program = f"mipro-walk export {metadata['job_id']} --format python --output classify.py"
        lines.append(("Take it along as a program, or for DSPy, LangChain, promptfoo:", [program]))
        lines.append(("See these results again:", [f"mipro-walk results {metadata['job_id']}"]))
    again = _more_budget(metadata, folder)
    if again:
        lines.append(("Search again with four times the budget:", [again]))
    for title, code in lines:
        console.print(Text(f"  {title}", style="dim"))
        for line in code:
            # Lines to copy are never folded at the width of the screen.
            console.print(Text("    " + visible(line, console.encoding)), soft_wrap=True, highlight=False)


def _more_budget(metadata: Mapping[str, Any], folder: Path | None) -> str | None:
    """Return the command that repeats the search with more rollouts, if the configuration lies where we left it."""
    section = (metadata.get("config") or {}).get("prompt_learning") or {}
    budget = (section.get("termination_config") or {}).get("budget")
    config = folder.parent / CONFIG_NAME if folder is not None else None
    if not isinstance(budget, int) or config is None or not config.is_file():
        return None
    if (config.parent / TASK_NAME).is_file():
        return f"MIPRO_WALK_BUDGET={4 * budget} mipro-walk optimize {shlex.quote(str(config.parent))}"
    # `run` starts the task app again, on the same rows; `train` alone would not.
    kind, _, detail = str((metadata.get("data") or {}).get("source") or "").partition(": ")
    rows = {"path": f" --data {shlex.quote(detail)}", "hub": " --data hub"}.get(kind, "")
    command = f"mipro-walk run --non-interactive --workdir {shlex.quote(str(config.parent))}{rows}"
    return f"MIPRO_WALK_BUDGET={4 * budget} {command}"
