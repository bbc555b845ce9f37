"""Every error a user can meet, in one tree.

    MiproWalkError                     exit 1
    ├── ConfigError                    exit 2   wrong usage or configuration
    ├── PrerequisiteError              exit 3   something this machine lacks
    ├── KeyMissingError                exit 4   a key is missing or was refused
    ├── UnreachableError               exit 5   task app, backend or model does not answer
    ├── ScoreBelowThresholdError       exit 6   --fail-under was not reached
    └── IncompleteError                exit 7   stopped early, resumable

A message says what happened, with the value; ``fix`` says what to do next. The command line prints
both in one place (``cli/main.py``) and exits with ``exit_code``; no traceback for a user's mistake.
"""

from __future__ import annotations


class MiproWalkError(Exception):
    """An expected failure. ``fix`` is one line that tells the user what to do next."""

    exit_code = 1
    code = "failed"

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class ConfigError(MiproWalkError):
    """A configuration or argument that cannot be used. ``problems`` lists every one found."""

    exit_code = 2
    code = "config"

    def __init__(self, message: str, fix: str = "", problems: list[str] | None = None) -> None:
        super().__init__(message, fix)
        self.problems = problems or []


class PrerequisiteError(MiproWalkError):
    """Something this machine lacks (a package, disk space, a free port, a usable folder)."""

    exit_code = 3
    code = "prerequisite"


class KeyMissingError(MiproWalkError):
    """A key is missing, or the other side refused it."""

    exit_code = 4
    code = "key"


class UnreachableError(MiproWalkError):
    """The task app, the backend or the model endpoint does not answer."""

    exit_code = 5
    code = "unreachable"


class ScoreBelowThresholdError(MiproWalkError):
    """The job ended well but scored below ``--fail-under``."""

    exit_code = 6
    code = "below_threshold"


class IncompleteError(MiproWalkError):
    """The work stopped before its end and can be resumed without paying anything twice."""

    exit_code = 7
    code = "incomplete"


def error_with_code(code: str | None, message: str, fix: str) -> MiproWalkError:
    """Return the error that a code stands for: how one process tells another what kind of failure it was."""
    kinds = {kind.code: kind for kind in MiproWalkError.__subclasses__()}
    return kinds.get(code or "", MiproWalkError)(message, fix)
