"""``mipro-walk doctor``: step 1 alone."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from mipro_walk.cli.console import is_interactive, stdout_console
from mipro_walk.cli.options import BackendOption, JsonOption, ModelPathOption, WorkdirOption, print_json


def doctor(
    workdir: WorkdirOption = None,
    backend: BackendOption = None,
    task_app_port: Annotated[
        int, typer.Option("--task-app-port", metavar="PORT", min=0, max=65535, help="The port to look at.")
    ] = 8002,
    model_path: ModelPathOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check this machine: Python, packages, keys, port, folders. Exit 3 if something has to be mended first.

    Example: mipro-walk doctor --json
    """
    from mipro_walk.cli.ui import TerminalUi
    from mipro_walk.paths import Workdir
    from mipro_walk.walkthrough.checks import Machine, check_machine, require_no_failure

    folder = workdir or Workdir.default_path()
    encoding = sys.stdout.encoding or "ascii"
    checks = check_machine(Machine(dict(os.environ), folder, task_app_port, backend, model_path, encoding))
    if as_json:
        print_json({"ok": all(c.status != "FAIL" for c in checks), "checks": [asdict(check) for check in checks]})
    else:
        TerminalUi(stdout_console(), is_interactive=is_interactive()).checks(checks)
    require_no_failure(checks)
