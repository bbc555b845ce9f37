"""From a document (a parsed TOML file or a submitted body) to a `RunConfig`, with all problems at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

from pydantic import SecretStr, ValidationError

from mipro_walk.config import tables
from mipro_walk.config.draft import Draft, read_document
from mipro_walk.config.endpoints import read_meta, read_policy
from mipro_walk.config.models import Pools, RunConfig
from mipro_walk.config.pools import read_pools
from mipro_walk.config.problems import Problems, allowed, show
from mipro_walk.config.published import CLIENT_DEFAULTS, GEPA, META, MIPRO, POLICY, ROOT, TERMINATION
from mipro_walk.config.sections import PLAIN_TEXT_PATTERN, SECTIONS, Gepa, Meta, Mipro, Policy, PromptLearning
from mipro_walk.config.trust import Trust, load_trust
from mipro_walk.core.settings import GepaSettings, OptimizerSettings
from mipro_walk.counting import counted
from mipro_walk.errors import ConfigError


def parse_config(
    data: Mapping[str, Any], *, origin: str, environ: Mapping[str, str] | None = None, trust: Trust | None = None
) -> RunConfig:
    """Check a submitted document ``{"prompt_learning": {…}}`` and fill in what it leaves out.

    Args:
        data: the document; not changed.
        origin: what it is called in messages, such as ``request body``.
        environ: consulted only for what its owner trusts, see :func:`load_trust`; the process's own by default.
        trust: which hosts are trusted, if that is known already.

    Raises:
        ConfigError: with every problem found, each naming its key.
    """
    problems = Problems(origin)
    try:
        draft = read_document(data, problems, is_file=False)
        return finish(draft, load_trust(environ) if trust is None else trust)
    except RecursionError:
        raise ConfigError(f"{origin}: nested too deeply.", "Remove the nesting.") from None


def finish(draft: Draft, trust: Trust) -> RunConfig:
    """Check all values and build the configuration.

    Raises:
        ConfigError: with every problem found.
    """
    _drop_client_provider(draft)
    checked = {table: checked_section(draft, table) for table in SECTIONS}
    env_config = tables.plain_json(draft.env_config, f"{ROOT}.env_config", draft.problems)
    baseline = None
    if draft.initial_prompt is not None:
        baseline = tables.baseline_instruction(
            draft.initial_prompt, f"{ROOT}.initial_prompt", draft.problems, draft.ignored
        )
    key = _task_app_key(draft)
    root = cast(PromptLearning, checked[ROOT])
    tables.check_url(root.task_app_url, draft.dotted((ROOT, "task_app_url")), draft.problems)
    policy = read_policy(draft, cast(Policy, checked[POLICY]), trust)
    mipro, gepa = cast(Mipro, checked[MIPRO]), cast(Gepa, checked[GEPA])
    meta = read_meta(draft, cast(Meta, checked[META]), mipro, policy, trust, root.algorithm)
    pools = read_pools(draft, mipro, gepa, env_config)
    if root.algorithm == "mipro":
        _check_demos(draft, mipro, pools)
    draft.problems.raise_if_any()
    is_local = policy.provider == "local"
    return RunConfig(
        task_app_url=root.task_app_url.rstrip("/"),
        task_app_id=root.task_app_id,
        task_app_api_key=key,
        results_folder=root.results_folder,
        policy=policy,
        pools=pools,
        settings=_settings(root.algorithm, draft, pools, checked),
        proposer=mipro.proposer or ("both" if meta.provider == "local" else "meta-model"),
        meta=meta,
        max_concurrent=mipro.max_concurrent or (2 if is_local else 8),
        call_timeout_seconds=mipro.call_timeout_seconds,
        max_retries=mipro.max_retries,
        env_config=env_config,
        baseline_instruction=baseline,
        ignored=tuple(dict.fromkeys(draft.ignored)),
        origins=_origins(draft),
    )


def _check_demos(draft: Draft, mipro: Mipro, pools: Pools) -> None:
    """Refuse early, with a line number, what a person wrote; the plan refuses the rest once the rows are known."""
    rows = pools.train.seeds
    is_written = draft.is_file and (MIPRO, "num_demos") in draft.values
    if is_written and mipro.optimize_demos and rows is not None and mipro.num_demos > len(rows):
        where = draft.dotted((MIPRO, "num_demos"))
        draft.problems.add(
            where,
            f"{where} = {mipro.num_demos}{draft.problems.at(where)}: larger than the train pool "
            f"({counted(len(rows), 'row')} in bootstrap_train_seeds).",
        )


def checked_section(draft: Draft, table: str) -> object:
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
            elif error["type"] == "string_unicode" or error.get("ctx", {}).get("pattern") == PLAIN_TEXT_PATTERN:
                own_words = "must not hold control characters or broken Unicode"
            bad.setdefault(key, own_words or f"must be {allowed(section.model_fields[key])}")
    for key, words in bad.items():
        where = draft.dotted((table, key))
        draft.problems.add(where, _bad_value(where, values[key], words, draft.problems))
    return section.model_validate({k: v for k, v in values.items() if k not in bad})


def _bad_value(where: str, value: Any, words: str, problems: Problems) -> str:
    if where.endswith("provider") and value == "google":
        words += '; for an OpenAI-compatible address of that provider use "custom" and base_url'
    if where.endswith("api_key_env"):
        words += "; name the variable and keep the key out of the file"
        value = "@"  # somebody may have written the key itself
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


def _settings(
    algorithm: str, draft: Draft, pools: Pools, checked: Mapping[str, Any]
) -> OptimizerSettings | GepaSettings:
    values = checked[MIPRO].model_dump() | checked[TERMINATION].model_dump()
    if algorithm == "mipro":
        return OptimizerSettings(**{f.name: values[f.name] for f in fields(OptimizerSettings)})
    values |= checked[GEPA].model_dump()
    if (MIPRO, "test_size") not in draft.values and checked[GEPA].validation_seeds is not None and pools.test.seeds:
        values["test_size"] = len(pools.test.seeds)  # to the published client they all are the test
    return GepaSettings(**{f.name: values[f.name] for f in fields(GepaSettings)})


def _drop_client_provider(draft: Draft) -> None:
    """Leave out the provider that the published client writes unasked for GEPA, unless a model goes with it."""
    place = (MIPRO, "meta_model_provider")
    table, _, key = draft.sources.get(place, "").rpartition(".")
    is_default = CLIENT_DEFAULTS.get((table, key)) == draft.values.get(place)
    if not draft.is_file and place in draft.values and is_default and (MIPRO, "meta_model") not in draft.values:
        draft.ignored.append(draft.sources.pop(place))
        del draft.values[place]


def _origins(draft: Draft) -> dict[str, str]:
    """Return for every key the layer that its value comes from, with file and line."""
    return {
        f"{table}.{key}": _origin(draft, draft.sources.get((table, key)))
        for table, section in SECTIONS.items()
        for key in section.model_fields
    }


def _origin(draft: Draft, source: str | None) -> str:
    if source is None:
        return "default"
    if source.endswith(")"):  # a key of the user's file, with its place
        return source.rpartition(" (")[2].removesuffix(")")
    if "." not in source:
        return source if source == "flag" else f"environment {source}"
    line = draft.problems.lines.get(source)
    if not draft.is_file:
        return draft.problems.origin
    return f"project file {draft.problems.origin}" + (f":{line}" if line else "")
