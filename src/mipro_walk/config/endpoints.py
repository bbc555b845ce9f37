"""Which models are asked, and where: a document alone never decides where a key is sent."""

from __future__ import annotations

from collections.abc import Mapping

from mipro_walk.config import tables
from mipro_walk.config.draft import Draft
from mipro_walk.config.models import PolicyConfig
from mipro_walk.config.problems import show
from mipro_walk.config.published import POLICY
from mipro_walk.config.sections import Mipro, Policy

BASE_URL_VARIABLE = "MIPRO_WALK_BASE_URL"
DEFAULT_MODELS = {"local": "smollm2-135m-instruct", "openai": "gpt-4o-mini", "groq": "llama-3.1-8b-instant"}


def read_policy(draft: Draft, policy: Policy, environ: Mapping[str, str]) -> PolicyConfig:
    """Return the policy model with everything left out filled in."""
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


def meta_model_name(mipro: Mipro, policy: PolicyConfig) -> str:
    """Return the meta-model's name: the policy's, unless another one or another provider is named."""
    provider = mipro.meta_model_provider or policy.provider
    if mipro.meta_model is None and provider != policy.provider:
        return DEFAULT_MODELS.get(provider, policy.model)
    return (mipro.meta_model or policy.model).removeprefix(f"{provider}/")
