"""Reading ``task.toml``: checked tables out, or every problem at once, each with its key, line and fix."""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from mipro_walk.config.loading import read_text
from mipro_walk.config.problems import Problems, allowed, printable, show
from mipro_walk.config.scan import scan_lines
from mipro_walk.errors import ConfigError
from mipro_walk.project.sections import (
    METRICS,
    SCORING_KEYS,
    SECTIONS,
    DataSection,
    Kind,
    LabelsSection,
    Metric,
    PromptSection,
    ScoringSection,
    Section,
    TaskSection,
)
from mipro_walk.project.templates import TemplateProblem, fixed_parts, template_fields, without_marks

TASK_FILE = "task.toml"
CONFIG_FILE = "mipro_config.toml"
FIX = "Correct these keys of task.toml; docs/tasks.md describes every one."
SHARE_TOLERANCE = 1e-6
AnySection = TypeVar("AnySection", bound=Section)


@dataclass(frozen=True, slots=True)
class Definition:
    """A checked ``task.toml``. ``folder`` is what its relative paths start from."""

    folder: Path
    task: TaskSection
    data: DataSection
    prompt: PromptSection
    labels: LabelsSection
    scoring: ScoringSection

    @property
    def kind(self) -> Kind:
        """Return the kind of task."""
        return self.task.kind

    @property
    def metric(self) -> Metric | None:
        """Return the metric, the kind's own by default; ``None`` where the kind has none."""
        return self.scoring.metric or next(iter(METRICS[self.kind]), None)

    @property
    def instruction(self) -> str:
        """Return the baseline instruction without the marks of fixed parts."""
        return without_marks(self.task.instruction)

    @property
    def fixed(self) -> tuple[str, ...]:
        """Return the parts that every candidate instruction must hold, byte for byte."""
        return fixed_parts(self.task.instruction)

    @property
    def template(self) -> str:
        """Return the question's template."""
        return self.prompt.template or "{" + self.data.columns[0] + "}"


def project_of(path: Path) -> Path | None:
    """Return the project folder that ``path`` is or lies in: a folder with a ``task.toml``, or a file beside one."""
    folder = path if path.is_dir() else path.parent
    return folder if (folder / TASK_FILE).is_file() else None


def config_of(path: Path) -> Path:
    """Return the run configuration: of a project's folder or ``task.toml`` its own, else the file itself."""
    project = project_of(path)
    return project / CONFIG_FILE if project is not None and (path.is_dir() or path.name == TASK_FILE) else path


def load_definition(path: Path) -> Definition:
    """Read a project's ``task.toml``; ``path`` is the folder or the file.

    Raises:
        ConfigError: not readable, not TOML, or with every problem in it, each naming its key and line.
    """
    file = path if path.name == TASK_FILE else path / TASK_FILE
    hint = f"Make a project with: mipro-walk init {file.parent}"
    text = read_text(file, hint=hint, large_hint="Put the labels into a file: [labels] file.", allow_bom=True)
    try:
        lines, document = scan_lines(text), tomllib.loads(text)
    except ConfigError as exc:
        raise ConfigError(f"{str(file)!r}: {exc.message}", exc.fix) from None
    except (ValueError, RecursionError) as exc:
        reason = printable(str(exc).replace("\n", " "))[:200].rstrip(".")
        raise ConfigError(f"{str(file)!r} is not valid TOML: {reason}.", "Correct that line.") from None
    return parse_definition(document, file.parent, lines, origin=str(file))


def parse_definition(
    document: Mapping[str, Any], folder: Path, lines: Mapping[str, int] | None = None, *, origin: str = TASK_FILE
) -> Definition:
    """Check a parsed document.

    Raises:
        ConfigError: with every problem found.
    """
    problems = Problems(origin, lines or {}, subject="task definition", fix=FIX)
    for key in document:
        if key not in SECTIONS:
            problems.unknown("", key, SECTIONS, _home_of(key))
    task = _section("task", TaskSection, document, problems)
    data = _section("data", DataSection, document, problems)
    prompt = _section("prompt", PromptSection, document, problems)
    labels = _section("labels", LabelsSection, document, problems)
    scoring = _section("scoring", ScoringSection, document, problems)
    if task is not None:
        _check_instruction(task, problems)
    if data is not None:
        _check_data(data, problems)
    if data is not None and prompt is not None:
        _check_template(data, prompt, problems)
    if task is not None and labels is not None and scoring is not None:
        _check_labels(task.kind, labels, problems)
        _check_scoring(task.kind, scoring, problems)
    problems.raise_if_any()
    assert task is not None
    assert data is not None
    assert prompt is not None
    assert labels is not None
    assert scoring is not None
    return Definition(folder, task, data, prompt, labels, scoring)


def _section(
    table: str, section: type[AnySection], document: Mapping[str, Any], problems: Problems
) -> AnySection | None:
    """Return the checked table, or ``None`` if it holds a problem, which is noted."""
    content = document.get(table, {})
    if not isinstance(content, Mapping):
        problems.add(table, f"{table} = {show(content)}{problems.at(table)}: must be a table, [{table}].")
        return None
    try:
        return section.model_validate(dict(content))
    except ValidationError as exc:
        known = {info.alias or name: info for name, info in section.model_fields.items()}
        seen: set[str] = set()
        for error in exc.errors(include_url=False, include_input=False):
            key = str(error["loc"][0])
            where = f"{table}.{key}"
            if key in seen:
                continue
            seen.add(key)
            if error["type"] == "extra_forbidden":
                problems.unknown(table, key, known, _home_of(key, beside=table))
            elif error["type"] == "missing":
                problems.add(where, f"[{table}] needs the key {key!r}. {known[key].description}")
            else:
                words = _words(key, error["type"], allowed(known[key]), error.get("ctx", {}))
                problems.add(where, f"{where} = {show(content[key])}{problems.at(where)}: {words}.")
        return None


def _words(key: str, kind: str, otherwise: str, context: Mapping[str, Any]) -> str:
    if key == "name" and kind == "string_pattern_mismatch":
        return "must be 1 to 64 characters of a-z, 0-9, _ and -"
    if kind == "string_too_long":
        return f"must have at most {context['max_length']} characters"
    if kind in ("string_pattern_mismatch", "string_unicode"):
        return "must not hold control characters or broken Unicode"
    if kind == "too_long":
        return f"must have at most {context['max_length']} entries"
    if key == "pinned":
        return "must be a list of row numbers, from 1"
    if key in ("columns", "values"):
        return "must be a list of texts, at least one"
    return f"must be {otherwise}"


def _check_instruction(task: TaskSection, problems: Problems) -> None:
    try:
        parts = fixed_parts(task.instruction)
    except TemplateProblem as exc:
        problems.add("task.instruction", f"task.instruction{problems.at('task.instruction')} {exc}.")
        return
    if parts and sum(map(len, parts)) >= len(without_marks(task.instruction).strip()):
        problems.add("task.instruction", "task.instruction is fixed as a whole: leave some text to improve outside.")
    if len(set(task.pinned)) < len(task.pinned):
        problems.add("task.pinned", f"task.pinned{problems.at('task.pinned')} names a row twice.")


def _check_data(data: DataSection, problems: Problems) -> None:
    if (data.file is None) == (data.hub is None):
        problems.add("data", "[data] needs either 'file' or 'hub'.")
    for key in ("revision", "hub_config", "hub_split"):
        if data.hub is None and getattr(data, key) is not None:
            problems.add(f"data.{key}", f"data.{key}{problems.at(f'data.{key}')} means something only with data.hub.")
    if len(set(data.columns)) < len(data.columns):
        problems.add("data.columns", f"data.columns{problems.at('data.columns')} names a column twice.")
    if data.target in data.columns:
        problems.add(
            "data.target", f"data.target = {show(data.target)} is an input column, too: the answer would show."
        )
    try:
        codecs.lookup(data.encoding)
    except LookupError:
        problems.add("data.encoding", f"data.encoding = {show(data.encoding)}{problems.at('data.encoding')}: unknown.")
    _check_shares(data, problems)


def _check_shares(data: DataSection, problems: Problems) -> None:
    given = [data.train, data.val, data.test]
    if data.split_column is not None:
        if any(share is not None for share in given):
            problems.add("data.split_column", "data.split_column and shares (train, val, test) exclude each other.")
        if data.split_column in (*data.columns, data.target):
            problems.add("data.split_column", "data.split_column is an input or target column, too.")
        return
    shares = data.shares
    if abs(sum(shares.values()) - 1.0) > SHARE_TOLERANCE:
        total = f"{sum(shares.values()):g}"
        problems.add("data.train", f"data.train, data.val and data.test add up to {total}; they must add up to 1.")
    elif not all(shares.values()):
        problems.add("data.train", "data.train, data.val and data.test must all be above 0: each split has its use.")


def _check_template(data: DataSection, prompt: PromptSection, problems: Problems) -> None:
    where = "prompt.template"
    if prompt.template is None:
        if len(data.columns) > 1:
            example = " ".join("{" + column + "}" for column in data.columns)
            problems.add("prompt", f"[prompt] needs a template for several columns, such as {show(example)}.")
        return
    try:
        fields = template_fields(prompt.template)
    except TemplateProblem as exc:
        problems.add(where, f"{where}{problems.at(where)} {exc}.")
        return
    for name in fields:
        if name not in data.columns:
            problems.unknown_name(where, "field", name, data.columns, "data.columns")
    if unused := [column for column in data.columns if column not in fields]:
        problems.add(where, f"{where}{problems.at(where)} never shows {', '.join(map(show, unused))} of data.columns.")


def _check_labels(kind: Kind, labels: LabelsSection, problems: Problems) -> None:
    given = labels.model_fields_set
    if kind not in ("classification", "multi_label"):
        if given:
            problems.add("labels", f"[labels]{problems.at('labels')} means nothing for kind = {show(kind)}.")
        return
    if labels.values is not None and labels.file is not None:
        problems.add("labels.file", "labels.values and labels.file exclude each other.")
    if "separator" in given and kind != "multi_label":
        problems.add("labels.separator", 'labels.separator means something only for kind = "multi_label".')
    values = labels.values or []
    if twice := sorted({value for value in values if values.count(value) > 1}):
        problems.add("labels.values", f"labels.values{problems.at('labels.values')} holds {show(twice[0])} twice.")
    if labels.values is not None and len(values) < 2 and kind == "classification":
        problems.add("labels.values", "labels.values holds one label; a classification needs at least two.")


def _check_scoring(kind: Kind, scoring: ScoringSection, problems: Problems) -> None:
    known = SCORING_KEYS[kind]
    for name in sorted(scoring.model_fields_set):
        key = "schema" if name == "schema_file" else name
        if key not in known:
            where = f"scoring.{key}"
            problems.add(
                where,
                f"{where}{problems.at(where)} means nothing for kind = {show(kind)}; known: {', '.join(known)}.",
            )
    if scoring.metric is not None and METRICS[kind] and scoring.metric not in METRICS[kind]:
        where, choices = "scoring.metric", ", ".join(f'"{metric}"' for metric in METRICS[kind])
        problems.add(where, f"{where} = {show(scoring.metric)}{problems.at(where)}: {kind} has {choices}.")
    if kind == "rating" and (scoring.low is None or scoring.high is None):
        problems.add("scoring", "[scoring] needs low and high for a rating, such as low = 1 and high = 5.")
    if scoring.low is not None and scoring.high is not None and not 1 <= scoring.high - scoring.low <= 100:
        problems.add("scoring.high", "scoring.high must be above scoring.low, by 100 at most.")
    if kind == "judged" and (scoring.low is None) != (scoring.high is None):
        problems.add("scoring", "[scoring] needs both low and high, or neither (1 to 5).")
    if kind == "extraction" and scoring.schema_file is None:
        problems.add("scoring", "[scoring] needs schema for an extraction: the file with the answer's JSON schema.")
    if kind == "judged" and scoring.rubric is None:
        problems.add("scoring", "[scoring] needs a rubric for a judged task: what makes an answer good, in words.")


def _home_of(key: str, beside: str = "") -> str | None:
    """Return the table that knows ``key``, if it is another one than ``beside``."""
    for table, section in SECTIONS.items():
        names = {info.alias or name for name, info in section.model_fields.items()}
        if key in names and table != beside:
            return table
    return None
