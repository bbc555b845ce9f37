"""Every key of the TOML form, with its type, range, default and explanation: the one reference.

These models check what people and clients write; the comments of a generated file and the tables of
``docs/configuration.md`` come from them too (``writing.py``, ``reference.py``). Values are strict: ``true`` is
not a number, ``10.0`` is not a whole number, NaN and infinity are nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_SEEDS = 10_000
"""Most seeds in one pool; far above what a run pays for."""
MAX_SEED = 10_000_000
MAX_BASELINE_LENGTH = 20_000
DAYS_30 = 30 * 24 * 3600

Provider = Literal["local", "openai", "groq", "custom"]
OutputMode = Literal["tool_calls", "structured", "text"]
ProposerName = Literal["meta-model", "built-in", "both"]


def is_whole_number(value: object) -> bool:
    """Tell whether ``value`` is an int and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def expand_seeds(value: object) -> tuple[int, ...]:
    """Return a list of seeds and ``{start, end}`` ranges (end exclusive) as plain seeds, in the order given.

    Raises:
        ValueError: not such a list, empty, too long, out of range, or a seed given twice.
    """
    items = value if isinstance(value, (list, tuple)) else [value] if isinstance(value, dict) else None
    if items is None:
        raise ValueError("must be a list of seeds, such as [0, 1, 2] or [{ start = 0, end = 50 }]")
    seeds: list[int] = []
    for item in items:
        seeds.extend(_one_item(item, room=MAX_SEEDS - len(seeds)))
    if not seeds:
        raise ValueError("must hold at least one seed")
    if len(set(seeds)) != len(seeds):
        twice = sorted({seed for seed in seeds if seeds.count(seed) > 1}) if len(seeds) <= 1000 else []
        raise ValueError("holds a seed twice" + (f": {_few(twice)}" if twice else ""))
    return tuple(seeds)


def _one_item(item: object, room: int) -> range:
    start: Any
    end: Any
    if is_whole_number(item):
        start, end = item, item + 1  # type: ignore[operator]
    elif isinstance(item, dict) and set(item) == {"start", "end"} and all(map(is_whole_number, item.values())):
        start, end = item["start"], item["end"]
    else:
        raise ValueError("must hold whole numbers or { start = 0, end = 50 } ranges only")
    if not 0 <= start < end <= MAX_SEED + 1:
        raise ValueError(f"seeds must lie in 0 to {MAX_SEED}, and the end of a range after its start")
    if end - start > room:
        raise ValueError(f"holds more than {MAX_SEEDS} seeds")
    return range(start, end)


def _few(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds[:5])) + (", …" if len(seeds) > 5 else "")


Seeds = Annotated[tuple[int, ...], BeforeValidator(expand_seeds)]
PLAIN_TEXT_PATTERN = r"^[^\x00-\x1f\x7f]*$"
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=PLAIN_TEXT_PATTERN)]
Url = Annotated[str, Field(min_length=1, max_length=2000)]
FreeTable = dict[str, Any]
KEY_VARIABLE_PATTERN = r"^[A-Z][A-Z0-9_]*_API_KEY$"
"""Names of variables that a configuration may ask a key from: no other secret of the environment has such a name."""


def _optional(description: str, default: str, **limits: Any) -> Any:
    """Return the field of a key that may be left out; ``default`` says in words what holds then."""
    return Field(None, description=description, json_schema_extra={"default": default}, **limits)


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class PromptLearning(_Section):
    """`[prompt_learning]`"""

    algorithm: Literal["mipro", "gepa"] = Field(
        "mipro", description="The search method: MIPRO, or GEPA (pip install 'mipro-walk[gepa]')."
    )
    task_app_url: Url = Field("http://127.0.0.1:8002", description="Where the task app listens.")
    task_app_id: Name | None = Field(None, description="Name of the task app, for your records.")
    results_folder: Annotated[str, Field(min_length=1, max_length=1000, pattern=PLAIN_TEXT_PATTERN)] = Field(
        "results", description="Where the result files go, relative to this file."
    )


class _Model(_Section):
    """What can be said of either model: how it is asked, how fast, at what price."""

    base_url: Url | None = Field(
        None,
        description="Base URL of a custom server; beyond this machine only if you trust it (models trust).",
    )
    api_key_env: Annotated[str, Field(pattern=KEY_VARIABLE_PATTERN, max_length=100)] | None = _optional(
        "Environment variable that holds the key, such as OPENROUTER_API_KEY; never the key itself.",
        "the provider's own",
    )
    reasoning_effort: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")] | None = Field(
        None, description="How long a reasoning model thinks, such as minimal, low, medium or high."
    )
    send_temperature: bool | None = _optional(
        "false leaves the temperature out, for models that refuse it (found out by itself, too).", "true"
    )
    extra_body: FreeTable | None = Field(
        None, description="Further fields of each request, such as { top_p = 0.9 }; part of what identifies a call."
    )
    extra_headers: FreeTable | None = Field(
        None, description="Further headers of each request; texts, and never a key."
    )
    max_concurrent: int | None = _optional(
        "Calls of this model at the same time.", "max_concurrent of [prompt_learning.mipro]", ge=1, le=256
    )
    requests_per_minute: int | None = Field(
        None, ge=1, le=1_000_000, description="Most requests in any minute; more wait for their turn."
    )
    tokens_per_minute: int | None = Field(
        None, ge=1, le=1_000_000_000, description="Most tokens in any minute, prompt and answer together."
    )
    timeout_seconds: float | None = _optional(
        "Longest wait for one call of this model.", "call_timeout_seconds of [prompt_learning.mipro]", gt=0, le=3600
    )
    input_price_per_million: float | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="US dollars for a million prompt tokens; with its twin it replaces the price list. 0 means free.",
    )
    output_price_per_million: float | None = Field(
        None, ge=0, le=1_000_000, description="US dollars for a million answer tokens."
    )


class Policy(_Model):
    """`[prompt_learning.policy]`: the model that answers the task."""

    inference_mode: Literal["synth_hosted"] = Field(
        "synth_hosted", description="Calls go through the backend; published clients insist on this line."
    )
    provider: Provider = Field(
        "local", description="Who serves the model; local needs no key, custom is any OpenAI-compatible server."
    )
    model: Name | None = _optional(
        "The model's name at its provider.",
        "smollm2-135m-instruct (local), gpt-4o-mini (openai), llama-3.1-8b-instant (groq)",
    )
    temperature: float = Field(0.0, ge=0, le=2, description="0 asks for the likeliest answer every time.")
    max_completion_tokens: int | None = _optional(
        "Longest answer, in tokens; a reasoning model's thinking counts.",
        "64, or 4096 with reasoning_effort",
        ge=1,
        le=100_000,
    )
    output_mode: OutputMode | None = _optional(
        "How the answer is asked for: JSON by schema, a tool call, or plain text.",
        "structured (local), else tool_calls",
    )


class Meta(_Model):
    """`[prompt_learning.meta]`: the model that writes instructions, where it differs from the policy model."""

    max_completion_tokens: int | None = _optional(
        "Longest instruction, in tokens; a reasoning model's thinking counts.",
        "120 (local), 400 (1000 for GEPA), or 8192 with reasoning_effort",
        ge=1,
        le=100_000,
    )


class Mipro(_Section):
    """`[prompt_learning.mipro]`: the search."""

    num_iterations: int = Field(10, ge=1, le=1000, description="Trials of the TPE search.")
    top_k: int = Field(2, ge=1, le=50, description="Finalists: the candidates of the last rung.")
    generations: int = Field(
        2, ge=1, le=10, description="Rounds of proposals; later ones start from what the leaders confuse."
    )
    minibatch_size: int = Field(
        0, ge=0, le=100_000, description="Rows of a trial of the first rung; 0 lets the plan divide the budget."
    )
    sampler: Literal["tpe", "tpe_multivariate", "random"] = Field(
        "tpe", description="tpe learns each axis, tpe_multivariate their pairs; random is for comparison."
    )
    rng_seed: int = Field(0, ge=0, le=2**31 - 1, description="Same seed, same choices. 0 is a seed like any other.")
    num_bootstrap_seeds: int = Field(3, ge=0, le=100, description="Bootstrap rounds, each asking for new instructions.")
    num_instructions_per_module: int = Field(4, ge=1, le=50, description="Instructions asked for in each round.")
    proposer: ProposerName | None = _optional(
        "Who writes instructions: the meta-model, a built-in set of patterns, or both.",
        "both for a local meta-model, else meta-model",
    )
    meta_model: Name | None = _optional("The model that writes instructions.", "the policy model")
    meta_model_provider: Provider | None = _optional("Who serves the meta-model.", "the policy provider")
    optimize_instructions: bool = Field(True, description="Search over instructions; false keeps the first one.")
    num_demos: int = Field(2, ge=0, le=200, description="Demonstrations (solved examples) in a prompt; 0 means none.")
    num_demo_sets: int = Field(
        8, ge=1, le=500, description="Demonstration sets to choose between, the empty one included."
    )
    optimize_demos: bool = Field(True, description="Search over demonstration sets; false means no demonstrations.")
    bootstrap_train_seeds: Seeds | None = _optional("Train rows for demonstrations and proposals.", "all, at most 500")
    train_split: Name | None = _optional("Split that bootstrap_train_seeds counts in.", "train")
    online_pool: Seeds | None = _optional("Val rows that score the trials.", "all, at most 500")
    val_seeds: Seeds | None = _optional("Read as online_pool where that key is missing.", "none")
    val_split: Name | None = _optional("Split that online_pool counts in.", "val")
    test_pool: Seeds | None = _optional("Test rows, used once at the end.", "the first test_size rows")
    test_split: Name | None = _optional("Split that test_pool counts in.", "test")
    test_size: int = Field(
        100, ge=0, le=100_000, description="Rows of the final test, paid beside the budget; 0 leaves it out."
    )
    ablation_size: int = Field(
        40,
        ge=0,
        le=100_000,
        description="Test rows on which instruction and demonstrations are tried apart, beside the budget; 0: none.",
    )
    max_unknown_fraction: float = Field(
        0.25, ge=0, le=1, description="A trial with a larger share of failed calls does not count."
    )
    max_concurrent: int | None = _optional("Rollouts at the same time.", "2 (local), else 8", ge=1, le=256)
    call_timeout_seconds: float = Field(60.0, gt=0, le=3600, description="Longest wait for one model call.")
    max_retries: int = Field(6, ge=0, le=20, description="Further tries of a failed call.")


class Gepa(_Section):
    """`[prompt_learning.gepa]`: what GEPA alone is told; keys that both algorithms share may stand here, too."""

    minibatch_size: int = Field(
        3, ge=1, le=10_000, description="Train rows that a new instruction and its parent are compared on."
    )
    pareto_set_size: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Val rows that every accepted instruction answers; 0: a sixth of the budget.",
    )
    evaluation_seeds: Seeds | None = _optional(
        "Read as train and val rows where those pools are missing: the first pareto_set_size are val.", "none"
    )
    validation_seeds: Seeds | None = _optional("Read as test_pool where that key is missing.", "none")


class Termination(_Section):
    """`[prompt_learning.termination_config]`: what ends the search."""

    budget: int = Field(100, ge=1, le=1_000_000, description="Most rollouts of bootstrap and search together.")
    max_time_seconds: float = Field(
        1800.0, gt=0, le=DAYS_30, description="Longest time for bootstrap and search, in seconds."
    )
    target_score: float = Field(0.95, gt=0, le=1, description="Good enough: the search stops at this score.")
    max_cost_usd: float | None = _optional("Hard cap on money, in US dollars.", "none", gt=0, le=1_000_000)


FREE_KEYS = {
    "num_intents": "Take the first so many labels only; leave it out for all of them.",
    "split": "The split that seeds count in when no *_split key is given.",
}
"""Keys of ``[prompt_learning.env_config]`` that our own task app knows. Others are handed on as they are."""

SECTIONS: dict[str, type[_Section]] = {
    "prompt_learning": PromptLearning,
    "prompt_learning.policy": Policy,
    "prompt_learning.meta": Meta,
    "prompt_learning.mipro": Mipro,
    "prompt_learning.gepa": Gepa,
    "prompt_learning.termination_config": Termination,
}
"""The checked tables by their TOML name. ``env_config`` and ``initial_prompt`` are free tables (``tables.py``)."""
