"""Runs a module as a child that never outlives its parent: ``python -m mipro_walk.child_guard MODULE ARGS…``.

A plainly spawned server survives the death of whoever started it. Here standard input is a pipe whose other end only
the parent holds: however the parent ends, SIGKILL included, the pipe closes, and the child terminates itself. The
"parent death signal" of Linux is not used: it follows the *thread* that started the child, and jobs run in threads.

``--detached`` before MODULE leaves the watching out, for servers that are meant to stay.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from collections.abc import Sequence

DETACHED = "--detached"
GRACE_SECONDS = 5.0
EXIT_ORPHANED = 143


def main(arguments: Sequence[str]) -> None:
    """Watch the parent, then become the module."""
    rest = list(arguments)
    detached = rest[:1] == [DETACHED]
    module, *module_arguments = rest[1:] if detached else rest
    if not detached:
        threading.Thread(target=_watch, args=(_take_stdin(),), daemon=True, name="parent-watch").start()
    sys.argv = [module, *module_arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _take_stdin() -> int:
    """Move the pipe away from descriptor 0, so that neither the module nor its children can read from it."""
    pipe = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return pipe


def _watch(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    threading.Thread(target=_exit_hard, daemon=True).start()
    os.kill(os.getpid(), signal.SIGTERM)


def _exit_hard() -> None:
    threading.Event().wait(GRACE_SECONDS)
    os._exit(EXIT_ORPHANED)


if __name__ == "__main__":
    main(sys.argv[1:])
