"""Configuration: a TOML file or a submitted body in, a checked `RunConfig` out."""

from mipro_walk.config.loading import load_config
from mipro_walk.config.models import ModelConfig, ModelOptions, PolicyConfig, Pool, Pools, Role, RunConfig
from mipro_walk.config.parsing import parse_config
from mipro_walk.config.problems import UntrustedHostError
from mipro_walk.config.profiles import PROFILES, Profile, describe_profile, get_profile, with_algorithm
from mipro_walk.config.writing import apply_overrides, render_config, write_config

__all__ = [
    "PROFILES",
    "ModelConfig",
    "ModelOptions",
    "PolicyConfig",
    "Pool",
    "Pools",
    "Profile",
    "Role",
    "RunConfig",
    "UntrustedHostError",
    "apply_overrides",
    "describe_profile",
    "get_profile",
    "load_config",
    "parse_config",
    "render_config",
    "with_algorithm",
    "write_config",
]
