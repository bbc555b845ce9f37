"""Serving a project in the foreground: by hand (``task-app serve``) or as a managed process (``__main__``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mipro_walk.errors import ConfigError, KeyMissingError, UnreachableError
from mipro_walk.project.loading import Project, load_project


def serve_project(path: Path, *, environ: Mapping[str, str], host: str = "127.0.0.1", port: int = 8002) -> int:
    """Serve a project until stopped; return the exit code (130 after Ctrl-C).

    Args:
        environ: holds the key, ``ENVIRONMENT_API_KEY``.
        host: an address of this machine.
        port: 0 takes a free one.

    Raises:
        KeyMissingError: no usable key.
        UnreachableError: the port cannot be had.
        ConfigError: the project cannot be used, or the address is not of this machine alone.
    """
    from task_apps.serving.server import bind, describe_bind_error, serve
    from task_apps.serving.settings import KeyProblem, is_loopback, settings_from

    if not is_loopback(host):
        raise ConfigError(f"{host} is not a loopback address.", "Leave --host out; a tunnel is the way out.")
    try:
        settings = settings_from(environ, host=host, port=port)
    except KeyProblem as exc:
        raise KeyMissingError(str(exc), "Set ENVIRONMENT_API_KEY.") from None
    try:
        listener = bind(host, port)
    except OSError as exc:
        raise UnreachableError(describe_bind_error(exc, host, port), "Pass --port 0 for a free one.") from None
    with listener:
        project = load_project(path)
        from mipro_walk.project.app import create_app

        return serve(create_app(settings, project), listener, _what(project))


def _what(project: Project) -> str:
    """Say what is served, for a line that still needs its ``url``."""
    rows = ", ".join(f"{split} {len(members)}" for split, members in project.rows.items())
    name, source = (
        text.replace("{", "{{").replace("}", "}}") for text in (project.definition.task.name, project.source)
    )
    return f"Task app {name} ({project.definition.kind}) on {{url}}: {source}, rows {rows}"
