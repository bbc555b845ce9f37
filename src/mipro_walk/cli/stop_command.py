"""``mipro-walk stop``: end every server that we started, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import typer

from mipro_walk.cli.options import JsonOption, print_json


def stop(as_json: JsonOption = False) -> None:
    """Stop every server that mipro-walk started. A process is only touched if pid, start time and command agree."""
    stop_all((), as_json=as_json)


def stop_all(names: Sequence[str], *, as_json: bool) -> None:
    """Stop our servers of these names; of every name if none is given. The backend goes first: it calls the others."""
    from mipro_walk.processes import records, stop_record

    found = [record for record in records() if not names or record.name in names]
    stopped = [record for record in sorted(found, key=lambda r: r.name != "backend") if stop_record(record)]
    for record in stopped:
        typer.echo(f"Stopped {record.name} (pid {record.pid}).", err=True)
    if not stopped:
        typer.echo("Nothing of ours was running.", err=True)
    if as_json:
        print_json({"stopped": [asdict(record) for record in stopped]})
