"""Reading files: ordinary ones, and whatever else may lie under that name."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mipro_walk.config import RunConfig, load_config
from mipro_walk.errors import ConfigError

SMALL = '[prompt_learning]\nalgorithm = "mipro"\n'


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "mipro_config.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def load(folder: Path, text: str | bytes, environ: dict[str, str] | None = None, **flags: object) -> RunConfig:
    return load_config(write(folder, text), environ=environ or {}, flags=flags)


def refusal(folder: Path, text: str | bytes, environ: dict[str, str] | None = None) -> ConfigError:
    start = time.perf_counter()
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environ)
    assert time.perf_counter() - start < 1
    assert caught.value.exit_code == 2
    assert caught.value.fix
    return caught.value


HOSTILE = {
    "no bytes": b"",
    "UTF-8 byte order mark": b"\xef\xbb\xbf" + SMALL.encode(),
    "UTF-16": SMALL.encode("utf-16"),
    "Latin-1": b'[prompt_learning]\ntask_app_id = "\xe4"\n',
    "NUL": SMALL.encode() + b"\x00",
    "too large": SMALL.encode() + b"#" * 70_000,
    "nested arrays": b"x = " + b"[" * 10_000 + b"]" * 10_000,
    "nested inline tables": b"x = " + b"{a=" * 5_000 + b"1" + b"}" * 5_000,
    "key of many parts": b"a." * 20_000 + b"a = 1",
    "key of many quoted parts": b'"a".' * 12_000 + b"a = 1",
    "inline key of many parts": b"x = {" + b"a." * 20_000 + b"a = 1}",
    "growing headers": "\n".join(f"[{'.'.join(['a'] * n)}]" for n in range(1, 240)).encode(),
    "many headers": b"[[a]]\n" * 10_000,
    "many keys": b"".join(b"k%d=1\n" % n for n in range(6_000)),
    "unclosed quotes": b'x = """' + b'\\"""' * 15_000,
    "many quotes": b'"' * 60_000,
    "brackets": b"]" * 60_000,
    "integer of 5,000 digits": b"[prompt_learning.mipro]\nnum_iterations = " + b"1" * 5_000,
    "hexadecimal of 50,000 digits": b"[prompt_learning.mipro]\nnum_iterations = 0x" + b"f" * 50_000,
    "same key twice": b'[prompt_learning]\nalgorithm = "mipro"\nalgorithm = "mipro"\n',
    "same table twice": b"[prompt_learning]\n[prompt_learning]\n",
    "not TOML": b"{}",
    "escape characters": b'[prompt_learning]\n"\\u001b[2J" = 1\n\x1b[31m',
    "date": b"[prompt_learning.mipro]\nnum_iterations = 2026-01-01\n",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_refused_within_a_second(tmp_path: Path, content: bytes) -> None:
    error = refusal(tmp_path, content)
    assert "\x1b" not in error.message + "".join(error.problems)
    assert len(error.message) < 600 + len(str(tmp_path))


def test_a_problem_in_the_syntax_is_told_with_its_line(tmp_path: Path) -> None:
    assert "line 3" in refusal(tmp_path, HOSTILE["same key twice"]).message


def test_a_missing_file_says_how_to_create_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "none.toml")
    assert "mipro-walk config create" in caught.value.fix


@pytest.mark.parametrize("kind", ["folder", "fifo", "link to a device", "broken link", "name with NUL"])
def test_only_regular_files_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "broken link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path = tmp_path / "a\x00b"
    start = time.perf_counter()
    with pytest.raises(ConfigError):
        load_config(path)
    assert time.perf_counter() - start < 1


def test_a_link_to_a_regular_file_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    target = write(tmp_path, SMALL.replace("\n", "\r\n"))
    (tmp_path / "link.toml").symlink_to(target)
    assert load_config(tmp_path / "link.toml", environ={}).settings.budget == 100


def test_long_texts_with_dots_and_brackets_are_not_mistaken_for_keys(tmp_path: Path) -> None:
    text = "Sort. [a] {b} = " + "e.g. " * 1500
    config = load(
        tmp_path, f'{SMALL}[[prompt_learning.initial_prompt.messages]]\nrole = "system"\npattern = """{text}"""'
    )
    assert config.baseline_instruction == text


def test_problems_name_the_line_of_their_key(tmp_path: Path) -> None:
    text = (
        '[prompt_learning]\nalgorithm = "mipro" # [not.a.table]\n\n'
        "[prompt_learning.mipro]\nonline_pool = [\n  1,\n  2,\n]\nnum_iterations = 0\nnum_iteration = 1\n"
        "  [prompt_learning.termination_config]\n  budget = -1\n"
        'policy.x = """\nnum_demos = 7\n"""\n'
    )
    problems = refusal(tmp_path, text).problems
    assert [p.partition("(line ")[2].partition(")")[0] for p in problems] == ["9", "10", "12", "13"]


def test_a_key_inside_an_inline_table_gets_the_line_of_the_table(tmp_path: Path) -> None:
    (problem,) = refusal(tmp_path, SMALL + "policy = { temperature = 9 }\n").problems
    assert "(line 3)" in problem


def test_a_key_of_the_task_app_in_a_file_is_refused_with_the_fix(tmp_path: Path) -> None:
    for table in ("[prompt_learning]", "[prompt_learning.mipro]"):
        error = refusal(tmp_path, f'[prompt_learning.env_config]\n{table}\ntask_app_api_key = "s3cret"\n')
        assert "ENVIRONMENT_API_KEY" in error.problems[0]
        assert "s3cret" not in str(error) + "".join(error.problems)


def test_a_batch_size_that_contradicts_is_a_mistake_in_a_file(tmp_path: Path) -> None:
    text = "[prompt_learning.mipro]\nbatch_size = 32\nminibatch_size = 5\n"
    assert "different" in refusal(tmp_path, text).problems[0]


# ---- precedence


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    text = "[prompt_learning.mipro]\nnum_iterations = 11\ntop_k = 3\nnum_demos = 4\n"
    environ = {"MIPRO_WALK_NUM_ITERATIONS": "12", "MIPRO_WALK_TOP_K": " 5 ", "MIPRO_WALK_NUM_DEMOS": ""}
    config = load(tmp_path, text, environ, num_iterations=13, budget=None)
    settings = config.settings
    assert (settings.num_iterations, settings.top_k, settings.num_demos, settings.budget) == (13, 5, 4, 100)
    origins = [config.origins[f"prompt_learning.mipro.{key}"] for key in ("num_iterations", "top_k", "num_demos")]
    assert origins == ["flag", "environment MIPRO_WALK_TOP_K", f"project file {tmp_path / 'mipro_config.toml'}:4"]
    assert config.origins["prompt_learning.termination_config.budget"] == "default"


def test_the_environment_wins_over_an_alias_in_the_file(tmp_path: Path) -> None:
    text = "[prompt_learning.mipro]\nmax_rollouts = 60\n"
    assert load(tmp_path, text, {"MIPRO_WALK_BUDGET": "70"}).settings.budget == 70


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("OPTIMIZE_DEMOS", "FALSE", "optimize_demos", False),
        ("OPTIMIZE_INSTRUCTIONS", "0", "optimize_instructions", False),
        ("TARGET_SCORE", "0.8", "target_score", 0.8),
        ("MAX_TIME_SECONDS", "60", "max_time_seconds", 60.0),
        ("RNG_SEED", "0", "rng_seed", 0),
        ("SAMPLER", "random", "sampler", "random"),
    ],
)
def test_environment_values_are_read_as_their_type(
    tmp_path: Path, name: str, text: str, key: str, value: object
) -> None:
    settings = load(tmp_path, SMALL, {f"MIPRO_WALK_{name}": text}).settings
    assert getattr(settings, key) == value
    assert type(getattr(settings, key)) is type(value)


@pytest.mark.parametrize("text", ["ten", "1e3", "1_0", "0x10", "1.0", "true", "9" * 5000, "٣"])
def test_a_bad_environment_value_is_named_with_its_variable(tmp_path: Path, text: str) -> None:
    (problem,) = refusal(tmp_path, SMALL, {"MIPRO_WALK_NUM_ITERATIONS": text}).problems
    assert problem.startswith("MIPRO_WALK_NUM_ITERATIONS = ")
    assert "whole number from 1 to 1000" in problem


def test_results_go_next_to_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, 'results_folder = "out"\n' + SMALL)
    assert config.results_path(tmp_path / "mipro_config.toml") == tmp_path / "out"


# ---- the walkthrough's own blocks

STEP_4 = """
[prompt_learning]
algorithm = "mipro"
task_app_url = "http://localhost:8002"

[prompt_learning.mipro]
# Optimization
num_iterations = 10      # TPE optimization rounds
top_k = 2                # Candidates to keep

# Bootstrap
num_bootstrap_seeds = 3  # Bootstrap samples
num_instructions_per_module = 4  # Instruction variants

# Demonstrations
num_demos = 2            # Few-shot examples
optimize_instructions = true
optimize_demos = true
"""
TIPS = [
    "num_iterations = 10\nnum_bootstrap_seeds = 3\nnum_instructions_per_module = 4\nbudget = 100\n",
    "num_iterations = 50\nnum_bootstrap_seeds = 10\nnum_instructions_per_module = 10\nbudget = 1000\n",
    "num_iterations = 30\n",
    "num_bootstrap_seeds = 5\nnum_instructions_per_module = 8\n",
    "num_demos = 4\n",
    "max_time_seconds = 3600  # 1 hour\n",
]


def test_the_walkthroughs_short_configuration_loads(tmp_path: Path) -> None:
    config = load(tmp_path, STEP_4)
    assert config.task_app_url == "http://localhost:8002"
    assert config.ignored == ()


@pytest.mark.parametrize("tip", TIPS)
def test_every_tuning_tip_loads_and_takes_effect(tmp_path: Path, tip: str) -> None:
    config = load(tmp_path, f"[prompt_learning.mipro]\n{tip}")
    for line in tip.splitlines():
        key, _, value = line.partition("#")[0].partition(" = ")
        assert getattr(config.settings, key) == int(value)


def test_a_cookbook_style_file_loads(tmp_path: Path) -> None:
    text = """
results_folder = "results"
[display]
local_backend = true
[prompt_learning]
algorithm = "mipro"
task_app_url = "http://127.0.0.1:8002"
task_app_id = "banking77"
[prompt_learning.initial_prompt]
id = "banking77_pattern"
[[prompt_learning.initial_prompt.sections]]
role = "system"
content = "You are an expert banking assistant."
order = 0
[prompt_learning.policy]
model = "gpt-4o-mini"
provider = "openai"
[prompt_learning.termination_config]
budget = 100
max_time_seconds = 1800
target_score = 0.95
"""
    config = load(tmp_path, text)
    assert config.baseline_instruction == "You are an expert banking assistant."
    assert set(config.ignored) == {"display", "prompt_learning.initial_prompt.id"}
