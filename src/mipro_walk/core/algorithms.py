"""The algorithms by their settings: one function runs whichever it is on the same task, evaluator and meta-model."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from mipro_walk.core.evaluation import Emit, Evaluator, Stops, ignore
from mipro_walk.core.gepa_search.plan import make_gepa_plan
from mipro_walk.core.gepa_search.reflection import MetaModelReflector, MixedReflector, PatternReflector, Reflector
from mipro_walk.core.gepa_search.search import run_gepa
from mipro_walk.core.optimizer import optimize
from mipro_walk.core.plan import SearchPlan, make_plan
from mipro_walk.core.proposer import Complete, MetaModelProposer, MixedProposer, PatternProposer, Proposer
from mipro_walk.core.result import RunResult
from mipro_walk.core.settings import GepaSettings, OptimizerSettings, SearchSettings
from mipro_walk.errors import PrerequisiteError
from mipro_walk.types import Task

WriterName = Literal["meta-model", "built-in", "both"]


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes instructions: the meta-model, the built-in patterns, or both. ``complete`` asks the meta-model."""

    kind: WriterName
    complete: Complete

    def proposer(self) -> Proposer:
        """Return MIPRO's form of it."""
        if self.kind == "built-in":
            return PatternProposer()
        if self.kind == "both":
            return MixedProposer(MetaModelProposer(self.complete), PatternProposer())
        return MetaModelProposer(self.complete)

    def reflector(self) -> Reflector:
        """Return GEPA's form of it. Raises PrerequisiteError without the ``gepa`` package."""
        require_gepa()
        if self.kind == "built-in":
            return PatternReflector()
        from mipro_walk.core.gepa_search.engine import extract, render

        meta_model = MetaModelReflector(self.complete, render, extract)
        return MixedReflector(meta_model, PatternReflector()) if self.kind == "both" else meta_model


def plan_for(settings: SearchSettings, task: Task) -> SearchPlan:
    """Return how the budget will be divided. Raises ConfigError if it cannot be."""
    if isinstance(settings, GepaSettings):
        require_gepa()
        return make_gepa_plan(settings, task)
    return make_plan(_mipro(settings), task)


def run_algorithm(
    task: Task,
    evaluator: Evaluator,
    writer: Writer,
    settings: SearchSettings,
    *,
    stops: Stops | None = None,
    emit: Emit = ignore,
) -> RunResult:
    """Run the algorithm that ``settings`` belong to: :class:`OptimizerSettings` MIPRO, :class:`GepaSettings` GEPA.

    Raises:
        ConfigError: the settings cannot work for this task.
        PrerequisiteError: GEPA without its package.
        IncompleteError: the evaluator gave up; resume later.
    """
    if isinstance(settings, GepaSettings):
        return run_gepa(task, evaluator, writer.reflector(), settings, stops=stops, emit=emit)
    return optimize(task, evaluator, writer.proposer(), _mipro(settings), stops=stops, emit=emit)


def require_gepa() -> None:
    """Raise PrerequisiteError if the ``gepa`` package is not installed."""
    if find_spec("gepa") is None:
        raise PrerequisiteError(
            'algorithm = "gepa" needs the gepa package, which is not installed.',
            "Install it: pip install 'mipro-walk[gepa]'",
        )


def _mipro(settings: SearchSettings) -> OptimizerSettings:
    assert isinstance(settings, OptimizerSettings)
    return settings
