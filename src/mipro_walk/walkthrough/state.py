"""What a walkthrough remembers between two starts: finished steps and choices, in ``state.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mipro_walk.paths import Workdir, read_private, write_private

SCHEMA_VERSION = 1
LAST_STEP = 6


@dataclass(frozen=True, slots=True)
class State:
    """Progress of one walkthrough.

    Attributes:
        completed: numbers of the finished steps, ascending.
        choices: what was chosen, by option name (``profile``, ``data``).
        job_id: the last job; empty before step 5.
    """

    completed: tuple[int, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)
    job_id: str = ""

    @property
    def first_unfinished(self) -> int:
        """The step to go on with; 7 when all are done."""
        return next((n for n in range(1, LAST_STEP + 1) if n not in self.completed), LAST_STEP + 1)

    def with_completed(self, step: int) -> State:
        """Return the state after ``step``. What came after it is open again."""
        earlier = {n for n in self.completed if n < step}
        return replace(self, completed=tuple(sorted(earlier | {step})))

    def with_choice(self, name: str, value: str) -> State:
        """Return the state with one choice more."""
        return replace(self, choices={**self.choices, name: value})


def load_state(workdir: Workdir) -> State:
    """Return what is remembered; a damaged file counts as none, the steps check everything themselves."""
    try:
        document: Any = json.loads(read_private(workdir.state) or b"{}")
        if document.get("schema_version") != SCHEMA_VERSION:
            return State()
        completed = tuple(sorted(n for n in document["completed"] if n in range(1, LAST_STEP + 1)))
        choices = {str(name): str(value) for name, value in document["choices"].items()}
        return State(completed, choices, str(document["job_id"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return State()


def save_state(workdir: Workdir, state: State) -> None:
    """Keep ``state``, mode 0600."""
    document = {"schema_version": SCHEMA_VERSION, **asdict(state)}
    write_private(workdir.state, json.dumps(document, indent=2).encode() + b"\n")
