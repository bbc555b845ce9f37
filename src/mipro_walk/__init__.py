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
    from mipro_walk.library.metrics import Metric, UnmeasuredError, exact_match, metric
    from mipro_walk.library.models import LocalModel
    from mipro_walk.library.optimizing import bind, optimize, optimize_async
    from mipro_walk.library.programs import Stages
    from mipro_walk.library.projects import load_project
    from mipro_walk.library.summary import summary
    from mipro_walk.library.tasks import make_task
    from mipro_walk.progress import Progress
    from mipro_walk.types import Candidate, Demonstration, Event, Example, Outcome, Task

_HOMES = {
    "OptimizationResult": "core.result",
    "OptimizerSettings": "core.settings",
    "Metric": "library.metrics",
    "UnmeasuredError": "library.metrics",
    "exact_match": "library.metrics",
    "metric": "library.metrics",
    "LocalModel": "library.models",
    "bind": "library.optimizing",
    "optimize": "library.optimizing",
    "optimize_async": "library.optimizing",
    "Stages": "library.programs",
    "load_project": "library.projects",
    "summary": "library.summary",
    "make_task": "library.tasks",
    "Progress": "progress",
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
    "LocalModel",
    "Metric",
    "OptimizationResult",
    "OptimizerSettings",
    "Outcome",
    "Progress",
    "Stages",
    "Task",
    "UnmeasuredError",
    "__version__",
    "bind",
    "exact_match",
    "load_project",
    "make_task",
    "metric",
    "optimize",
    "optimize_async",
    "summary",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mipro_walk' has no attribute {name!r}")
    return getattr(import_module(f"mipro_walk.{_HOMES[name]}"), name)
