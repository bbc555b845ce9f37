"""What a step is given: the options, the user, the folders, the services, and what earlier steps chose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipro_walk.paths import Workdir
from mipro_walk.walkthrough.state import State, save_state
from mipro_walk.walkthrough.ui import Ui

if TYPE_CHECKING:
    from mipro_walk.core.settings import AlgorithmName
    from mipro_walk.walkthrough.services import Services
    from mipro_walk.walkthrough.submit_job import Follow, JobClient, TrainResult

DEFAULT_PORT = 8002
SAMPLE = "sample"
HUB = "hub"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of ``mipro-walk run``; ``None`` means that the user did not say.

    Attributes:
        data: ``sample``, ``hub`` or a path.
    """

    workdir: Path | None = None
    data: str | None = None
    num_intents: int | None = None
    profile: str | None = None
    algorithm: AlgorithmName | None = None
    backend: str | None = None
    task_app_port: int = DEFAULT_PORT
    rng_seed: int | None = None
    yes: bool = False
    max_cost_usd: float | None = None
    model_path: Path | None = None
    overwrite_config: bool = False
    is_dry_run: bool = False


@dataclass
class Context:
    """One walkthrough. Steps read it; only ``remember`` and ``result`` change.

    Attributes:
        follow: makes the function that shows a job of this client until it ends; ``is_ours`` tells whether the
            backend is ours.
        result: how the job of step 5 ended.
    """

    options: RunOptions
    ui: Ui
    workdir: Workdir
    environ: Mapping[str, str]
    state: State
    services: Services
    follow: Callable[[JobClient, bool], Follow]
    result: TrainResult | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> str:
        """Where the rows come from: option, earlier choice, else the shipped sample."""
        return self.options.data or self.state.choices.get("data") or SAMPLE

    def remember(self, state: State) -> None:
        """Keep ``state`` here and on disk."""
        self.state = state
        save_state(self.workdir, state)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step leaves for ``--json``."""

    data: Mapping[str, Any] = field(default_factory=dict)
