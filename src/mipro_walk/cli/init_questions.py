"""What ``mipro-walk init`` asks where its options say nothing."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mipro_walk.cli.init_options import InitOptions
from mipro_walk.config import PROFILES, get_profile
from mipro_walk.errors import ConfigError
from mipro_walk.project.guessing import Guess, guess
from mipro_walk.project.rows import Table, did_you_mean
from mipro_walk.project.sections import KINDS, Kind
from mipro_walk.walkthrough.profile import LOCAL_PROFILE, default_profile
from mipro_walk.walkthrough.ui import Choice, Question, Ui

KIND_WORDS: dict[Kind, str] = {
    "classification": "one label of a list",
    "multi_label": "several labels of a list",
    "extraction": "fields of a JSON object",
    "short_answer": "a short answer in words or numbers",
    "rating": "a whole number on a scale",
    "judged": "free text that a judge model scores by a rubric",
}


def ask_for_data(ui: Ui) -> Path:
    """Ask for the data file."""
    text = "Which file holds your examples? CSV, TSV, JSON lines, Parquet or Excel."
    answer = ui.ask_text(Question(text, (), None, "DATA (a file), --hub NAME or --sample KIND"))
    return Path(answer.strip("'\"")).expanduser()


def change_guess(options: InitOptions, ui: Ui, table: Table, found: Guess) -> InitOptions:
    """Ask for columns and kind, the guess being the default."""
    names = ", ".join(f"{number} {name}" for number, name in enumerate(table.columns, 1))
    ui.say(f"Columns: {names}")
    columns = _ask_columns(ui, table, "Which columns hold the text? Numbers or names, with commas.", found.columns)
    target = _ask_columns(ui, table, "Which column holds the right answer?", (found.target,))[0]
    if target in columns:
        ui.warn(f"{target} cannot be text and answer.")
        return options
    kinds = tuple(Choice(str(number), f"{kind}: {KIND_WORDS[kind]}") for number, kind in enumerate(KINDS, 1))
    default = str(KINDS.index(guess(table, columns=columns, target=target).kind) + 1)
    kind = KINDS[int(ui.ask(Question("What is an answer?", kinds, default, "--kind"))) - 1]
    return replace(options, text=list(columns), target=target, kind=kind)


def _ask_columns(ui: Ui, table: Table, text: str, default: tuple[str, ...]) -> tuple[str, ...]:
    while True:
        answer = ui.ask_text(Question(text, (), ", ".join(default), "--text or --label"))
        if answer == ", ".join(default):
            return default
        if answer in table.columns:
            return (answer,)
        parts = [part.strip() for part in answer.split(",") if part.strip()]
        found = [_column(part, table.columns) for part in parts]
        if found and all(found):
            return tuple(dict.fromkeys(name for name in found if name))
        wrong = next((part for part, name in zip(parts, found, strict=True) if name is None), answer)
        ui.warn(f"There is no column {wrong!r}.{did_you_mean(wrong, table.columns)}")


def _column(text: str, columns: Sequence[str]) -> str | None:
    if text in columns:
        return text
    if re.fullmatch(r"[0-9]{1,4}", text) and 1 <= int(text) <= len(columns):
        return columns[int(text) - 1]
    return None


def choose_profile(options: InitOptions, ui: Ui, environ: Mapping[str, str]) -> str:
    """Return the profile for the configuration: as told, else asked; the keys at hand make the default."""
    names = [name for name, found in PROFILES.items() if found.document["prompt_learning"]["algorithm"] == "mipro"]
    if options.profile is not None:
        name = get_profile(options.profile).name
        if name not in names:
            raise ConfigError(
                f"The profile {name!r} is not one that init can fit to data.",
                f'Choose one of {", ".join(names)}; then set algorithm = "gepa" in the file that is written.',
            )
        return name
    suits = default_profile(environ)
    choices = tuple(Choice(str(n), _model_words(name)) for n, name in enumerate(names, 1))
    default = str(names.index(suits) + 1)
    if suits == LOCAL_PROFILE and importlib.util.find_spec("xllamacpp") is None:
        ui.warn("The local model cannot run here (xllamacpp is missing), and no key is set: choose another profile.")
    return names[int(ui.ask(Question("Which model should answer?", choices, default, "--profile NAME"))) - 1]


def _model_words(name: str) -> str:
    profile = get_profile(name)
    policy, mipro = (profile.document["prompt_learning"][key] for key in ("policy", "mipro"))
    budget = profile.document["prompt_learning"]["termination_config"]["budget"]
    needs = f"needs {profile.needs_key}" if profile.needs_key else "on this machine, needs no key"
    return f"{name}: {policy['model']}, {budget} calls and {2 * mipro['test_size']} for the test at most; {needs}"
