"""Find a better prompt and prove it: MIPRO prompt optimization with an honest test.

    from mipro_walk import make_task, optimize

    result = optimize(make_task("intents", "Name the intent.", train, val, test), policy=ask_my_model)
    print(result.test.comparison.verdict, result.recommended.instruction)

Names are loaded when they are first used, so that ``import mipro_walk`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mipro_walk.version import VERSION as __version__

if TYPE_CHECKING:
    from mipro_walk.core.result import OptimizationResult
    from mipro_walk.core.settings import OptimizerSettings
    from mipro_walk.library import exact_match, make_task, optimize
    from mipro_walk.types import Candidate, Demonstration, Event, Example, Outcome, Task

_HOMES = {
    "OptimizationResult": "core.result",
    "OptimizerSettings": "core.settings",
    "exact_match": "library",
    "make_task": "library",
    "optimize": "library",
    "Candidate": "types",
    "Demonstration": "types",
    "Event": "types",
    "Example": "types",
    "Outcome": "types",
    "Task": "types",
}

__all__ = [
    "Candidate",
    "Demonstration",
    "Event",
    "Example",
    "OptimizationResult",
    "OptimizerSettings",
    "Outcome",
    "Task",
    "__version__",
    "exact_match",
    "make_task",
    "optimize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mipro_walk' has no attribute {name!r}")
    return getattr(import_module(f"mipro_walk.{_HOMES[name]}"), name)
