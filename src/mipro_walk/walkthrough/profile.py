"""Which profile a walkthrough uses: what was asked for, else what the keys of this machine allow."""

from __future__ import annotations

from collections.abc import Mapping

from mipro_walk.errors import KeyMissingError
from mipro_walk.walkthrough.context import Context

LOCAL_PROFILE = "quick-local"


def chosen_profile(ctx: Context) -> str:
    """Return the profile: option, earlier choice, else the default for this machine."""
    return ctx.options.profile or ctx.state.choices.get("profile") or default_profile(ctx.environ)


def default_profile(environ: Mapping[str, str]) -> str:
    """Return the profile for the keys at hand. OPENAI_API_KEY goes first; no key means the local model."""
    if environ.get("OPENAI_API_KEY"):
        return "walkthrough"
    return "groq" if environ.get("GROQ_API_KEY") else LOCAL_PROFILE


def needs_local_model(ctx: Context) -> bool:
    """Whether this machine will run the model."""
    return ctx.options.backend is None and chosen_profile(ctx) == LOCAL_PROFILE


def require_provider_key(name: str, environ: Mapping[str, str]) -> None:
    """Raise KeyMissingError if the profile needs a key that is not set."""
    from mipro_walk.config import get_profile

    variable = get_profile(name).needs_key
    if variable and not environ.get(variable):
        raise KeyMissingError(
            f"Profile {name!r} needs {variable}, which is not set.",
            f"Set it, or pass --profile {LOCAL_PROFILE}, which needs no key.",
        )
