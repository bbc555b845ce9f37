"""Opening a page where there is somebody to see it; its address is said in any case."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Mapping

SSH_VARIABLES = ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")
SCREEN_VARIABLES = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
START_SECONDS = 2.0


def can_open(environ: Mapping[str, str] | None = None, platform: str = sys.platform) -> bool:
    """Whether a browser would open on a screen that the user sees: not in CI, not over SSH, not without a display."""
    found = os.environ if environ is None else environ
    if any(found.get(name) for name in (*SSH_VARIABLES, "CI")):
        return False
    return platform in ("darwin", "win32") or any(found.get(name) for name in SCREEN_VARIABLES)


def open_page(address: str) -> bool:
    """Open an address in the browser of the user (``BROWSER`` if that is set); return whether one was started."""
    started: list[bool] = []
    # A browser that stays in the foreground must not keep the command from going on.
    opening = threading.Thread(target=lambda: started.append(webbrowser.open(address)), daemon=True)
    opening.start()
    opening.join(START_SECONDS)
    return opening.is_alive() or started == [True]
