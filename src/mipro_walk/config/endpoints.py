"""Which models are asked, where and how: a document alone never decides where a key is sent."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from mipro_walk.config import tables
from mipro_walk.config.draft import Draft
from mipro_walk.config.free_tables import read_body, read_headers
from mipro_walk.config.models import ModelConfig, ModelOptions, PolicyConfig, proposal_tokens
from mipro_walk.config.problems import show
from mipro_walk.config.published import META, POLICY
from mipro_walk.config.sections import Meta, Mipro, Policy, Provider
from mipro_walk.config.trust import BASE_URL_VARIABLE, CUSTOM_KEY_VARIABLE, PROVIDER_HOSTS, Trust, is_providers_own
from mipro_walk.core.settings import AlgorithmName
from mipro_walk.loopback import is_loopback

DEFAULT_MODELS = {"local": "smollm2-135m-instruct", "openai": "gpt-4o-mini", "groq": "llama-3.1-8b-instant"}
ANSWER_TOKENS, REASONED_ANSWER_TOKENS = 64, 4096
PLACE_KEYS = ("api_key_env", "extra_headers")
"""What belongs to an address: a meta-model at the policy's address shares it, whatever its name."""

PRICE_KEYS = ("input_price_per_million", "output_price_per_million")


@dataclass(frozen=True)
class _Role:
    """One of the two models, as written."""

    draft: Draft
    table: str
    provider: Provider
    trust: Trust

    def where(self, key: str) -> str:
        """Return how the key was written, else its own name."""
        return self.draft.dotted((self.table, key))

    def add(self, key: str, text: str) -> None:
        """Note a problem with a key."""
        self.draft.problems.add(self.where(key), text)

    def at(self, key: str) -> str:
        """Return the line of the key, in brackets."""
        return self.draft.problems.at(self.where(key))


def read_policy(draft: Draft, policy: Policy, trust: Trust) -> PolicyConfig:
    """Return the policy model with everything left out filled in."""
    role = _Role(draft, POLICY, policy.provider, trust)
    model = policy.model or DEFAULT_MODELS.get(policy.provider, "")
    if not model:
        role.add("model", f"{role.where('model')} is missing: name the model that the custom server offers.")
    base_url = _base_url(role, policy.base_url, fallback=trust.base_url)
    return PolicyConfig(
        provider=policy.provider,
        model=model.removeprefix(f"{policy.provider}/"),
        temperature=policy.temperature,
        max_completion_tokens=policy.max_completion_tokens
        or (REASONED_ANSWER_TOKENS if policy.reasoning_effort else ANSWER_TOKENS),
        output_mode=policy.output_mode or ("structured" if policy.provider == "local" else "tool_calls"),
        base_url=base_url,
        options=_options(role, policy, base_url),
    )


def read_meta(
    draft: Draft, meta: Meta, mipro: Mipro, policy: PolicyConfig, trust: Trust, algorithm: AlgorithmName
) -> ModelConfig:
    """Return the meta-model. What is not said of it is the policy's, as far as it is the same server and model."""
    provider = mipro.meta_model_provider or policy.provider
    role = _Role(draft, META, provider, trust)
    is_same_server = meta.base_url is None and provider == policy.provider
    base_url = policy.base_url if is_same_server else _base_url(role, meta.base_url, fallback=trust.base_url)
    options = _options(role, meta, base_url)
    model = meta_model_name(mipro, policy)
    if (provider, base_url) == (policy.provider, policy.base_url):
        options = _filled(options, policy.options, only=None if model == policy.model else PLACE_KEYS)
    limit = meta.max_completion_tokens or proposal_tokens(provider, options, algorithm)
    return ModelConfig(provider, model, base_url, limit, options)


def meta_model_name(mipro: Mipro, policy: PolicyConfig) -> str:
    """Return the meta-model's name: the policy's, unless another one or another provider is named."""
    provider = mipro.meta_model_provider or policy.provider
    if mipro.meta_model is None and provider != policy.provider:
        return DEFAULT_MODELS.get(provider, policy.model)
    return (mipro.meta_model or policy.model).removeprefix(f"{provider}/")


def _filled(options: ModelOptions, others: ModelOptions, only: tuple[str, ...] | None) -> ModelOptions:
    names = [field.name for field in fields(options)] if only is None else only
    missing = [name for name in names if getattr(options, name) is None]
    if options.input_price_per_million is not None or options.output_price_per_million is not None:
        missing = [name for name in missing if not name.endswith("_price_per_million")]
    return replace(options, **{name: getattr(others, name) for name in missing})


def _options(role: _Role, said: Policy | Meta, base_url: str | None) -> ModelOptions:
    values = {field.name: getattr(said, field.name) for field in fields(ModelOptions)}
    problems = role.draft.problems
    values["extra_body"] = read_body(said.extra_body, role.where("extra_body"), problems)
    values["extra_headers"] = read_headers(said.extra_headers, role.where("extra_headers"), problems)
    values["send_temperature"] = False if said.send_temperature is False else None
    given = [key for key in PRICE_KEYS if (role.table, key) in role.draft.values]
    if len(given) == 1:
        (other,) = set(PRICE_KEYS) - set(given)
        role.add(given[0], f"{role.where(given[0])}{role.at(given[0])}: needs {other} beside it.")
    _check_key_variable(role, said.api_key_env, base_url)
    return ModelOptions(**values)


def _check_key_variable(role: _Role, variable: str | None, base_url: str | None) -> None:
    """Refuse a variable whose key is bound to another host than the one it would be sent to."""
    key = "api_key_env"
    if variable is None:
        return
    at = f"{role.where(key)} = {show(variable)}{role.at(key)}"
    if role.provider == "local":
        role.add(key, f"{at}: the local model needs no key of yours.")
    elif variable in OTHER_PURPOSES:
        role.add(key, f"{at}: that key is for another purpose and never sent to a model.")
    elif role.provider == "custom":
        if base_url and not is_loopback(base_url) and not role.trust.allows_key(base_url, variable):
            _refuse_host(role, key, at, base_url, variable)
    elif not is_providers_own(PROVIDER_HOSTS[role.provider], variable) and not role.trust.allows_key(
        PROVIDER_HOSTS[role.provider], variable
    ):
        _refuse_host(role, key, at, PROVIDER_HOSTS[role.provider], variable)


OTHER_PURPOSES = ("SYNTH_API_KEY", "ENVIRONMENT_API_KEY")


def _refuse_host(role: _Role, key: str, at: str, url: str, variable: str) -> None:
    role.draft.problems.add_untrusted(
        role.where(key),
        f"{at}: this key is not bound to that host. If you trust it: "
        f"mipro-walk models trust {url} --variable {variable}",
        (url, variable),
    )


def _base_url(role: _Role, said: str | None, fallback: str | None) -> str | None:
    """Return the address of a custom server, if this person and not only this document chose it.

    A configuration may come with somebody else's project. It must not be able to send a key elsewhere.
    """
    key = "base_url"
    where = role.where(key)
    if role.provider != "custom":
        if said is not None:
            role.add(key, f'{where}{role.at(key)}: only provider = "custom" has a base_url.')
        return None
    if said is None:
        if not fallback:
            role.add(key, f"{where} is missing: give the server's address, or set {BASE_URL_VARIABLE}.")
            return None
        if fallback == role.trust.base_url:
            role.draft.override((role.table, key), fallback, BASE_URL_VARIABLE)
        return fallback if tables.check_url(fallback, BASE_URL_VARIABLE, role.draft.problems) else None
    if not tables.check_url(said, where, role.draft.problems):
        return None
    url = said.rstrip("/")
    if not is_loopback(url) and not role.trust.allows_host(url):
        role.draft.problems.add_untrusted(
            where,
            f"{where} = {show(url)}{role.at(key)}: leaves this machine, and keys are bound to hosts. If you trust it: "
            f"mipro-walk models trust {url} (or set {BASE_URL_VARIABLE} to the same address).",
            (url, role.draft.values.get((role.table, "api_key_env")) or CUSTOM_KEY_VARIABLE),
        )
    return url
