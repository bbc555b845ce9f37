"""A real browser for tests of pages: the system's Chromium, headless, and a page that remembers all it did."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM_VARIABLE = "MIPRO_WALK_CHROMIUM"
CHROMIUM = os.environ.get(CHROMIUM_VARIABLE) or shutil.which("chromium") or shutil.which("chromium-browser")
DESKTOP = (1280, 900)
PHONE = (390, 844)
TIMEOUT_MS = 60_000
SERIOUS = ("serious", "critical")


@dataclass
class Visit:
    """An open page, and what it did: console errors and warnings, uncaught errors, dialogs, requested addresses."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._on_dialog)
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, target: str | Path) -> Any:
        """Go to an address or a file and return the page."""
        self.page.goto(target.absolute().as_uri() if isinstance(target, Path) else target)
        return self.page

    def accessibility_problems(self) -> list[str]:
        """Return what axe finds of serious or critical impact, with the element it found it on."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [
            f"{problem['id']}: {node['html'][:200]} ({node['failureSummary']})"
            for problem in found
            if problem["impact"] in SERIOUS
            for node in problem["nodes"]
        ]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _on_dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()


OpenPage = Callable[..., Visit]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; closed with each module, since playwright keeps an event loop running in this thread."""
    if CHROMIUM is None:
        pytest.skip(f"needs Chromium: apt-get install chromium, or set {CHROMIUM_VARIABLE}")
    from playwright.sync_api import sync_playwright

    # A sandbox needs what containers and root do not have; only pages of ours are opened.
    flags = ["--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags, timeout=TIMEOUT_MS)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[OpenPage]:
    """Return a function that opens a watched empty page: ``open_page(PHONE, scheme="dark", **context options)``."""
    with contextlib.ExitStack() as stack:

        def make(size: tuple[int, int] = DESKTOP, scheme: str = "light", **options: Any) -> Visit:
            viewport = {"width": size[0], "height": size[1]}
            context = browser.new_context(viewport=viewport, color_scheme=scheme, **options)
            stack.callback(context.close)
            context.set_default_timeout(TIMEOUT_MS)
            visit = Visit(context.new_page())
            visit.watch()
            return visit

        yield make
