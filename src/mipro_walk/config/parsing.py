"""From a document (a parsed TOML file or a submitted body) to a `RunConfig`, with all problems at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, cast

from pydantic import SecretStr, ValidationError

from mipro_walk.config import tables
from mipro_walk.config.models import PolicyConfig, Pool, Pools, RunConfig
from mipro_walk.config.problems import Problems, allowed, show
from mipro_walk.config.published import (
    CLIENT_DEFAULTS,
    IGNORED,
    IGNORED_PREFIXES,
    MIPRO,
    POLICY,
    REFUSED,
    ROOT,
    ROUTES,
    SUBTABLES,
    TERMINATION,
    TOP,
    Place,
)
from mipro_walk.config.sections import SECTIONS, Mipro, Policy, PromptLearning, Termination
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.errors import ConfigError

BASE_URL_VARIABLE = "MIPRO_WALK_BASE_URL"
DEFAULT_MODELS = {"local": "smollm2-135m-instruct", "openai": "gpt-4o-mini", "groq": "llama-3.1-8b-instant"}


@dataclass
class Draft:
    """A document on its way: values by their own place, and where each was written.

    Attributes:
        sources: for each place, the dotted key as it was written, or the name of a variable or flag.
        env_config, initial_prompt: the free tables as written.
    """

    problems: Problems
    is_file: bool
    values: dict[Place, Any] = field(default_factory=dict)
    sources: dict[Place, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    env_config: Any = field(default_factory=dict)
    initial_prompt: Any = None

    def dotted(self, place: Place) -> str:
        """Return how the key was written, else its own name."""
        return self.sources.get(place, f"{place[0]}.{place[1]}")

    def override(self, place: Place, value: Any, source: str) -> None:
        """Set a value from outside the document."""
        self.values[place], self.sources[place] = value, source


def parse_config(data: Mapping[str, Any], *, origin: str, environ: Mapping[str, str] | None = None) -> RunConfig:
    """Check a submitted document ``{"prompt_learning": {…}}`` and fill in what it leaves out.

    Args:
        data: the document; not changed.
        origin: what it is called in messages, such as ``request body``.
        environ: consulted only for ``MIPRO_WALK_BASE_URL``; the process's own by default.

    Raises:
        ConfigError: with every problem found, each naming its key.
    """
    problems = Problems(origin)
    try:
        draft = read_document(data, problems, is_file=False)
        return finish(draft, os.environ if environ is None else environ)
    except RecursionError:
        raise ConfigError(f"{origin}: nested too deeply.", "Remove the nesting.") from None


def read_document(data: Mapping[str, Any], problems: Problems, *, is_file: bool) -> Draft:
    """Sort every key of ``data`` into its own place; note the unknown ones."""
    draft = Draft(problems, is_file)
    if not isinstance(data, Mapping) or not isinstance(data.get(ROOT), Mapping):
        problems.add("", f"The table [{ROOT}] is missing.")
        problems.raise_if_any()
    _read_table(draft, TOP, data)
    return draft


def _read_table(draft: Draft, table: str, content: Mapping[str, Any]) -> None:
    for key, value in content.items():
        where = f"{table}.{key}".lstrip(".")
        if value is None:  # JSON null: not said
            continue
        if key in SUBTABLES.get(table, ()):
            _read_subtable(draft, where, key, value)
        elif (table, key) in REFUSED:
            draft.problems.add(where, f"{where}{draft.problems.at(where)} is not accepted. {REFUSED[(table, key)]}")
        elif key in ROUTES[table]:
            _put(draft, ROUTES[table][key], value, where)
        elif _is_ignored(table, key):
            draft.ignored.append(where)
        else:
            known = [*ROUTES[table], *SUBTABLES.get(table, ()), *IGNORED[table]]
            draft.problems.unknown(table, str(key), known, _home_of(str(key)))


def _read_subtable(draft: Draft, where: str, key: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        draft.problems.add(where, f"{where} = {show(value)}{draft.problems.at(where)}: must be a table, [{where}].")
    elif key == "env_config":
        draft.env_config = value
    elif key == "initial_prompt":
        draft.initial_prompt = value
    else:
        _read_table(draft, where, value)


def _put(draft: Draft, place: Place, value: Any, where: str) -> None:
    """Store a value; the same thing said twice must be the same."""
    table, _, key = where.rpartition(".")
    is_client_default = not draft.is_file and CLIENT_DEFAULTS.get((table, key)) == value
    if place not in draft.values:
        draft.override(place, value, where)
    elif _same(draft.values[place], value):
        return
    elif is_client_default:
        draft.ignored.append(where)
    elif not draft.is_file and _was_client_default(draft, place):
        draft.ignored.append(draft.sources[place])
        draft.override(place, value, where)
    else:
        first = draft.sources[place]
        said = "" if place[1] == "task_app_api_key" else f" ({show(draft.values[place])} and {show(value)})"
        draft.problems.add(
            where, f"{where}{draft.problems.at(where)} and {first} say different things{said}. Keep one."
        )


def _was_client_default(draft: Draft, place: Place) -> bool:
    table, _, key = draft.sources[place].rpartition(".")
    return (table, key) in CLIENT_DEFAULTS and CLIENT_DEFAULTS[(table, key)] == draft.values[place]


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _is_ignored(table: str, key: str) -> bool:
    prefix = IGNORED_PREFIXES.get(table)
    return key in IGNORED[table] or bool(prefix and key.startswith(prefix))


def _home_of(key: str) -> str | None:
    return next((table for table, section in SECTIONS.items() if key in section.model_fields), None)


def finish(draft: Draft, environ: Mapping[str, str]) -> RunConfig:
    """Check all values and build the configuration.

    Raises:
        ConfigError: with every problem found.
    """
    checked = {table: _checked(draft, table) for table in SECTIONS}
    env_config = tables.plain_json(draft.env_config, f"{ROOT}.env_config", draft.problems)
    baseline = None
    if draft.initial_prompt is not None:
        baseline = tables.baseline_instruction(
            draft.initial_prompt, f"{ROOT}.initial_prompt", draft.problems, draft.ignored
        )
    key = _task_app_key(draft)
    root = cast(PromptLearning, checked[ROOT])
    tables.check_url(root.task_app_url, draft.dotted((ROOT, "task_app_url")), draft.problems)
    policy = _policy(draft, cast(Policy, checked[POLICY]), environ)
    mipro = cast(Mipro, checked[MIPRO])
    pools = _pools(draft, mipro, env_config)
    draft.problems.raise_if_any()
    meta_provider = mipro.meta_model_provider or policy.provider
    is_local = policy.provider == "local"
    return RunConfig(
        task_app_url=root.task_app_url.rstrip("/"),
        task_app_id=root.task_app_id,
        task_app_api_key=key,
        results_folder=root.results_folder,
        policy=policy,
        pools=pools,
        settings=_settings(mipro, cast(Termination, checked[TERMINATION])),
        proposer=mipro.proposer or ("both" if meta_provider == "local" else "meta-model"),
        meta_model=_meta_model(mipro, policy),
        meta_model_provider=meta_provider,
        max_concurrent=mipro.max_concurrent or (2 if is_local else 8),
        call_timeout_seconds=mipro.call_timeout_seconds,
        max_retries=mipro.max_retries,
        env_config=env_config,
        baseline_instruction=baseline,
        ignored=tuple(dict.fromkeys(draft.ignored)),
        origins=_origins(draft),
    )


def _checked(draft: Draft, table: str) -> object:
    """Return the section with the bad values left at their defaults, so that the later checks can run too."""
    section = SECTIONS[table]
    values = {k: v for (home, k), v in draft.values.items() if home == table and k in section.model_fields}
    try:
        return section.model_validate(values)
    except ValidationError as exc:
        bad: dict[str, str] = {}
        for error in exc.errors(include_url=False, include_input=False):
            key = str(error["loc"][0])
            own_words = str(error["ctx"]["error"]) if error["type"] == "value_error" else ""
            if error["type"] == "string_too_long":
                own_words = f"must have at most {error['ctx']['max_length']} characters"
            elif error["type"] in ("string_pattern_mismatch", "string_unicode"):
                own_words = "must not hold control characters or broken Unicode"
            bad.setdefault(key, own_words or f"must be {allowed(section.model_fields[key])}")
    for key, words in bad.items():
        where = draft.dotted((table, key))
        draft.problems.add(where, _bad_value(where, values[key], words, draft.problems))
    return section.model_validate({k: v for k, v in values.items() if k not in bad})


def _bad_value(where: str, value: Any, words: str, problems: Problems) -> str:
    if where.endswith(".algorithm") and value == "gepa":
        words = 'GEPA is not available in this version; set algorithm = "mipro"'
    if where.endswith("provider") and value == "google":
        words += '; for an OpenAI-compatible address of that provider use "custom" and base_url'
    shown = "…" if isinstance(value, str) and "@" in value else show(value)
    return f"{where} = {shown}{problems.at(where)}: {words}."


def _task_app_key(draft: Draft) -> SecretStr | None:
    place = (ROOT, "task_app_api_key")
    if place not in draft.values:
        return None
    where, key = draft.dotted(place), draft.values[place]
    if draft.is_file:
        draft.problems.add(
            where,
            f"{where}{draft.problems.at(where)}: keys stay out of files. Remove the line and set ENVIRONMENT_API_KEY.",
        )
    elif not isinstance(key, str) or not 1 <= len(key) <= 8192 or not key.isascii() or not key.isprintable():
        draft.problems.add(where, f"{where}: must be a key of printable ASCII characters.")
    else:
        return SecretStr(key)
    return None


def _policy(draft: Draft, policy: Policy, environ: Mapping[str, str]) -> PolicyConfig:
    model = policy.model or DEFAULT_MODELS.get(policy.provider, "")
    where = draft.dotted((POLICY, "model"))
    if not model:
        draft.problems.add(where, f"{where} is missing: name the model that the custom server offers.")
    return PolicyConfig(
        provider=policy.provider,
        model=model.removeprefix(f"{policy.provider}/"),
        temperature=policy.temperature,
        max_completion_tokens=policy.max_completion_tokens,
        output_mode=policy.output_mode or ("structured" if policy.provider == "local" else "tool_calls"),
        base_url=_base_url(draft, policy, environ),
    )


def _base_url(draft: Draft, policy: Policy, environ: Mapping[str, str]) -> str | None:
    """Return the address of a custom server, if this person and not only this document chose it.

    A configuration may come with somebody else's project. It must not be able to send a key elsewhere.
    """
    where, trusted = draft.dotted((POLICY, "base_url")), environ.get(BASE_URL_VARIABLE, "").strip().rstrip("/")
    if policy.provider != "custom":
        if policy.base_url is not None:
            draft.problems.add(where, f'{where}{draft.problems.at(where)}: only provider = "custom" has a base_url.')
        return None
    if policy.base_url is None:
        if not trusted:
            draft.problems.add(where, f"{where} is missing: give the server's address, or set {BASE_URL_VARIABLE}.")
            return None
        draft.override((POLICY, "base_url"), trusted, BASE_URL_VARIABLE)
        return trusted if tables.check_url(trusted, BASE_URL_VARIABLE, draft.problems) else None
    if not tables.check_url(policy.base_url, where, draft.problems):
        return None
    url = policy.base_url.rstrip("/")
    if not tables.is_loopback(url) and url != trusted:
        draft.problems.add(
            where,
            f"{where} = {show(url)}{draft.problems.at(where)}: leaves this machine, and keys are bound to hosts. "
            f"If you trust it, set the environment variable {BASE_URL_VARIABLE} to the same address.",
        )
    return url


def _meta_model(mipro: Mipro, policy: PolicyConfig) -> str:
    provider = mipro.meta_model_provider or policy.provider
    if mipro.meta_model is None and provider != policy.provider:
        return DEFAULT_MODELS.get(provider, policy.model)
    return (mipro.meta_model or policy.model).removeprefix(f"{provider}/")


def _settings(mipro: Mipro, termination: Termination) -> OptimizerSettings:
    both = mipro.model_dump() | termination.model_dump()
    return OptimizerSettings(**{f.name: both[f.name] for f in fields(OptimizerSettings)})


def _pools(draft: Draft, mipro: Mipro, env_config: Any) -> Pools:
    """Return the three pools.

    With any ``*_split`` key each pool counts in a split of its own name unless told otherwise. Without, seeds mean
    what they mean to the published client: all count in one split, the app's default or ``env_config.split``.
    """
    val_key = "online_pool"
    if mipro.online_pool is None and mipro.val_seeds is not None:
        val_key = "val_seeds"
    elif mipro.val_seeds is not None:
        draft.ignored.append(draft.dotted((MIPRO, "val_seeds")))
    seeds = {
        "train": mipro.bootstrap_train_seeds,
        "val": getattr(mipro, val_key),
        "test": mipro.test_pool,
    }
    splits = {"train": mipro.train_split, "val": mipro.val_split, "test": mipro.test_split}
    has_splits = any(splits.values())
    shared = env_config.get("split") if isinstance(env_config, dict) else None
    if shared is not None and (has_splits or not any(seeds.values())):
        draft.ignored.append(f"{ROOT}.env_config.split")
    pools = {
        name: Pool(shared if isinstance(shared, str) else None, seeds[name])
        if seeds[name] is not None and not has_splits
        else Pool(splits[name] or name, seeds[name])
        for name in seeds
    }
    keys = {"train": "bootstrap_train_seeds", "val": val_key, "test": "test_pool"}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        _check_disjoint(draft, (keys[one], pools[one]), (keys[other], pools[other]))
    return Pools(**pools)


def _check_disjoint(draft: Draft, one: tuple[str, Pool], other: tuple[str, Pool]) -> None:
    (one_key, one_pool), (other_key, other_pool) = one, other
    if one_pool.split != other_pool.split:
        return
    where, first = draft.dotted((MIPRO, other_key)), draft.dotted((MIPRO, one_key))
    split = f"split {one_pool.split!r}" if one_pool.split else "the task app's default split"
    fix = "Give disjoint seeds, or a split to each pool (train_split, val_split, test_split)."
    if one_pool.seeds is None or other_pool.seeds is None:
        draft.problems.add(
            where, f"{first} and {other_key}{draft.problems.at(where)} both mean {split}, one of them all of it. {fix}"
        )
        return
    common = sorted(set(one_pool.seeds) & set(other_pool.seeds))
    if common:
        some = ", ".join(map(str, common[:5])) + (", …" if len(common) > 5 else "")
        draft.problems.add(
            where,
            f"{first} and {other_key}{draft.problems.at(where)} share {len(common)} rows of {split}: {some}. {fix}",
        )


def _origins(draft: Draft) -> dict[str, str]:
    origins = {}
    for table, section in SECTIONS.items():
        for key in section.model_fields:
            source = draft.sources.get((table, key))
            line = draft.problems.lines.get(source or "")
            where = f"file line {line}" if line else "file" if draft.is_file else draft.problems.origin
            origins[f"{table}.{key}"] = "default" if source is None else where if "." in source else source
    return origins
