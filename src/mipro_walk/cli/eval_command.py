"""``mipro-walk eval``: measure a saved prompt again, for a person or for CI."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mipro_walk.cli.consent import require_consent
from mipro_walk.cli.console import stderr_console, stdout_console
from mipro_walk.cli.options import JsonOption, ModelPathOption, print_json
from mipro_walk.cli.trusting import load_asking
from mipro_walk.cli.visible import one_line, visible
from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError, MiproWalkError, PrerequisiteError, ScoreBelowThresholdError

if TYPE_CHECKING:  # heavy; --help does without them
    from mipro_walk.backend.measuring import Measured
    from mipro_walk.config import RunConfig
    from mipro_walk.core.assessment import Check, PromptScore
    from mipro_walk.core.statistics import PairedComparison
    from mipro_walk.project.loading import Project
    from mipro_walk.types import Candidate
    from task_apps.banking77.data import TaskData

BASELINE = "baseline"
PROMPT, REFERENCE = "prompt", "reference"
MAX_ROWS_SHOWN = 50
QUERY_CHARS = 120

SplitName = Literal["train", "val", "test", "pinned"]


@dataclass(frozen=True)
class _Task:
    """Whose rows: a project's, or Banking77's, whose configuration may be a file beside a ``task.toml``."""

    project: Path | None
    config: Path | None
    data: str

    def load(self, say: Callable[[str], None]) -> tuple[RunConfig, TaskData | Project]:
        """Return the configuration and the rows; findings about a project's rows are said."""
        from mipro_walk.backend.in_process import load_data
        from mipro_walk.project.definition import config_of, project_of
        from mipro_walk.project.loading import load_project

        named = self.config or self.project or Path("mipro_config.toml")
        folder = project_of(self.project or named)
        if self.project is not None and folder is None:
            raise ConfigError(f"{self.project} is not a project: it has no task.toml.", "Make one: mipro-walk init")
        loaded = load_asking(config_of(named))
        if folder is None:
            return loaded, load_data(self.data)
        project = load_project(folder)
        for finding in project.findings:
            say(f"{finding.level}: {finding.text}")
        return loaded, project

    @staticmethod
    def has_judge(rows: TaskData | Project) -> bool:
        """Whether the meta-model is asked, too: it judges the answers."""
        return getattr(rows, "judge", None) is not None


@dataclass(frozen=True)
class _Assessed:
    """A measurement with what it means."""

    measured: Measured
    named: Mapping[str, str]
    split: str
    scores: Mapping[str, PromptScore]
    comparison: PairedComparison | None
    regressed: list[int]
    checks: list[Check]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def evaluate(
    prompt: Annotated[
        str, typer.Argument(help="A best_prompt.json, a folder or project that holds one, or: baseline.")
    ],
    prompt_b: Annotated[
        str | None, typer.Argument(metavar="[PROMPT_B]", help="A second prompt to compare the first one with.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="The run's configuration: model, parameters, rows. [default: mipro_config.toml, or the project's]",
        ),
    ] = None,
    project: Annotated[
        Path | None, typer.Option("--project", metavar="DIR", help="A project's folder; else it is Banking77.")
    ] = None,
    split: Annotated[SplitName, typer.Option(help="Whose rows.")] = "test",
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="PROMPT", help="The prompt to compare with, as PROMPT_B.")
    ] = None,
    fail_under: Annotated[
        float | None, typer.Option("--fail-under", metavar="X", min=0.0, max=1.0, help="Exit 6 below this score.")
    ] = None,
    max_regression: Annotated[
        float | None,
        typer.Option("--max-regression", metavar="X", min=0.0, max=1.0, help="Exit 6 if it scores lower by more."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask again what was recorded before.")] = False,
    as_json: JsonOption = False,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML here.")] = None,
    data: Annotated[
        str, typer.Option("--data", metavar="PATH|hub|sample", help="Where the rows come from.")
    ] = "sample",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to calls that cost money.")] = False,
    max_cost_usd: Annotated[
        float | None, typer.Option("--max-cost-usd", metavar="X", min=0.0, help="Hard cap.")
    ] = None,
    model_path: ModelPathOption = None,
) -> None:
    """Measure a saved prompt on the rows of a split, and compare it with another one on the same rows.

    Calls that a run or an earlier eval has recorded are not made again, unless --fresh. The checks decide on the
    measured score and difference; the intervals are shown beside them. Exit 6 if a check fails, 7 if too many calls do.

    \b
    Examples:
      mipro-walk eval my-task --project my-task --fail-under 0.8
      mipro-walk eval new.json --baseline old.json --max-regression 0.02
    """
    started = time.monotonic()
    reference = _reference(prompt_b, baseline, max_regression)
    try:
        named = {PROMPT: prompt} | ({} if reference is None else {REFERENCE: reference})
        measured = _measure(named, _Task(project, config, data), split, fresh, yes, max_cost_usd, model_path)
        assessed = _assess(measured, named, split, fail_under, max_regression)
    except MiproWalkError as exc:
        if junit is not None:
            _write_junit(
                junit, f"eval of {prompt} on {split}", [("measured", "error", exc.message, [exc.fix])], started
            )
        raise
    if junit is not None:
        _write_junit(junit, f"eval of {prompt} on {split}", _cases(assessed), started)
    if as_json:
        print_json(_as_document(assessed))
    else:
        _show(assessed)
    if not assessed.passed:
        failed = [check for check in assessed.checks if not check.passed]
        raise ScoreBelowThresholdError(
            " ".join(f"--{check.name}: {check.message}" for check in failed),
            "Look at the rows that it lost, improve the prompt, or change the limit.",
        )


def _reference(prompt_b: str | None, baseline: str | None, max_regression: float | None) -> str | None:
    if prompt_b is not None and baseline is not None:
        raise ConfigError("PROMPT_B and --baseline both name the prompt to compare with.", "Give one of them.")
    reference = baseline if prompt_b is None else prompt_b
    if max_regression is not None and reference is None:
        raise ConfigError("--max-regression needs a prompt to compare with.", "Add --baseline OLD.")
    return reference


def _measure(
    named: Mapping[str, str],
    task: _Task,
    split: SplitName,
    fresh: bool,
    yes: bool,
    max_cost_usd: float | None,
    model_path: Path | None,
) -> Measured:
    from mipro_walk.backend.in_process import in_process_worlds
    from mipro_walk.backend.measuring import measure, require_few_unknown
    from mipro_walk.backend.settings import BackendSettings
    from mipro_walk.paths import backend_key, home

    prompts = {name: _candidate(text) for name, text in named.items()}
    console = stderr_console()
    loaded, rows = task.load(lambda text: console.print(visible(text, console.encoding), soft_wrap=True))
    fix = "Pass --yes, or --max-cost-usd X to cap it."
    models = [loaded.model("policy"), *([loaded.meta] if task.has_judge(rows) else [])]
    require_consent(models, "Up to a call a row", fix, yes=yes or max_cost_usd is not None)
    settings = BackendSettings(
        home(), (backend_key(home()),), os.environ.get("MIPRO_WALK_LEDGER_URL", ""), model_path=model_path
    )
    measured = measure(
        settings,
        loaded,
        in_process_worlds(rows),
        prompts,
        split,
        fresh=fresh,
        max_cost_usd=max_cost_usd,
        say=lambda text: console.print(visible(text, console.encoding), soft_wrap=True),
    )
    require_few_unknown(measured, loaded.settings.max_unknown_fraction)
    return measured


def _candidate(text: str) -> Candidate | None:
    from mipro_walk.results.prompts import read_prompt

    return None if text == BASELINE else read_prompt(Path(text).expanduser())


def _assess(
    measured: Measured,
    named: Mapping[str, str],
    split: str,
    fail_under: float | None,
    max_regression: float | None,
) -> _Assessed:
    from mipro_walk.core import assessment

    outcomes = measured.outcomes
    scores = {name: assessment.score_of(found) for name, found in outcomes.items()}
    comparison, lost = None, list[int]()
    if REFERENCE in outcomes:
        comparison = assessment.compare(outcomes[REFERENCE], outcomes[PROMPT])
        lost = assessment.regressed(outcomes[REFERENCE], outcomes[PROMPT])
    checks = assessment.assess(scores[PROMPT], comparison, fail_under=fail_under, max_regression=max_regression)
    return _Assessed(measured, named, split, scores, comparison, lost, checks)


def _as_document(assessed: _Assessed) -> dict[str, Any]:
    measured, usage = assessed.measured, assessed.measured.usage
    prompts = {
        name: {
            "source": assessed.named[name],
            "prompt_hash": measured.candidates[name].prompt_hash,
            **asdict(assessed.scores[name]),
        }
        for name in measured.outcomes
    }
    return {
        "kind": "mipro_walk.eval",
        "task": measured.task,
        "data": measured.source,
        "model": dict(measured.model),
        "split": assessed.split,
        "rows": len(measured.rows),
        "prompt": prompts[PROMPT],
        "reference": prompts.get(REFERENCE),
        "comparison": None if assessed.comparison is None else asdict(assessed.comparison),
        "checks": [asdict(check) for check in assessed.checks],
        "passed": assessed.passed,
        "regressed": [_lost_row(assessed, index) for index in assessed.regressed],
        "calls": {
            "rollouts_made": measured.made,
            "rollouts_recorded": measured.recorded,
            "attempts": usage.calls,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "cost_usd": usage.cost_usd,
        },
    }


def _lost_row(assessed: _Assessed, index: int) -> dict[str, Any]:
    row, outcomes = assessed.measured.rows[index], assessed.measured.outcomes
    old, new = outcomes[REFERENCE][index], outcomes[PROMPT][index]
    return {
        "seed": row.seed,
        "query": row.query,
        "label": row.label,
        "reference": {"predicted": old.predicted, "score": old.score},
        "prompt": {"predicted": new.predicted, "score": new.score},
    }


def _lost_line(assessed: _Assessed, index: int, encoding: str = "utf-8") -> str:
    lost = _lost_row(assessed, index)
    words = f"was {lost['reference']['predicted']!r}, now {lost['prompt']['predicted']!r}, right is {lost['label']!r}"
    return f"{assessed.split} row {lost['seed']}: {words}: {one_line(lost['query'], encoding, QUERY_CHARS)}"


def _cases(assessed: _Assessed) -> list[tuple[str, Any, str, list[str]]]:
    lines = [_lost_line(assessed, index) for index in assessed.regressed[:MAX_ROWS_SHOWN]]
    if len(assessed.regressed) > MAX_ROWS_SHOWN:
        lines.append(f"and {counted(len(assessed.regressed) - MAX_ROWS_SHOWN, 'more row')}")
    cases: list[tuple[str, Any, str, list[str]]] = [("measured", "passed", line, []) for line in _score_lines(assessed)]
    cases = [("measured", "passed", " ".join(message for _, _, message, _ in cases), [])]
    for check in assessed.checks:
        cases.append((check.name, "passed" if check.passed else "failure", check.message, lines))
    return cases


def _write_junit(path: Path, suite: str, cases: list[tuple[str, Any, str, list[str]]], started: float) -> None:
    from mipro_walk.results.junit import Case, junit_xml

    content = junit_xml(suite, [Case(*case) for case in cases], time.monotonic() - started)
    try:
        path.expanduser().write_bytes(content)
    except OSError as exc:
        raise PrerequisiteError(f"Cannot write {path}: {exc.strerror or exc}.", "Name another --junit FILE.") from exc


def _score_lines(assessed: _Assessed) -> list[str]:
    lines = []
    for name, score in assessed.scores.items():
        shown = "no score" if score.mean is None else f"{score.mean:.3f}"
        unknown = f", {counted(score.unknown, 'failed call')} left out" if score.unknown else ""
        interval = f"95 % interval {score.low:.3f} to {score.high:.3f}"
        where = f"on {counted(score.n, f'{assessed.split} row')}"
        lines.append(f"{name:<9}  {shown} {where} ({interval}{unknown}): {assessed.named[name]}")
    if (c := assessed.comparison) is not None:
        interval = f"95 % interval {c.low:+.3f} to {c.high:+.3f}"
        rows = f"{counted(c.n, 'paired row')}, {c.gained} gained, {c.lost} lost"
        lines.append(f"difference {c.difference:+.3f} on {rows} ({interval}): {c.verdict}")
    return lines


def _show(assessed: _Assessed) -> None:
    console = stdout_console()
    measured = assessed.measured
    cost = "cost unknown" if measured.usage.cost_usd is None else f"${measured.usage.cost_usd:.4f}"
    lines = [*_score_lines(assessed)]
    lines.append(
        f"{counted(measured.made, 'rollout')} asked, {measured.recorded} recorded before; {cost}. {measured.source}"
    )
    lines += [f"{'OK' if check.passed else 'FAIL':<4}  --{check.name}: {check.message}" for check in assessed.checks]
    lost = assessed.regressed[:MAX_ROWS_SHOWN]
    lines += [f"  lost  {_lost_line(assessed, index, console.encoding)}" for index in lost]
    for line in lines:
        console.print(visible(line, console.encoding), soft_wrap=True)
