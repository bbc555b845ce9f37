"""Showing the live page: its address is always said; a browser opens where there is somebody to see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from mipro_walk.cli.browser import can_open, open_page
from mipro_walk.cli.console import is_interactive
from mipro_walk.errors import MiproWalkError

if TYPE_CHECKING:
    from mipro_walk.clients.backend import BackendClient


def show_page(client: BackendClient, say: Callable[[str], None], job_id: str | None = None) -> None:
    """Say the address of the page, and open it in a browser if there is one on this screen.

    The code in the address is good once, for a minute, and stands in its fragment, which no server sees. Where
    nobody watches (CI, a pipe) no code is made. A backend that serves no page is said so, and nothing else happens.
    """
    base = f"{client.base_url}/"
    job = f"job={quote(job_id)}" if job_id else ""
    if not is_interactive():
        say(f"Live page: {base}{f'#{job}' if job else ''} (it asks for the key in backend_key.txt)")
        return
    try:
        code = client.page_code()
    except MiproWalkError as exc:
        say(f"The backend at {client.base_url} opens no live page: {exc.message}")
        return
    address = f"{base}#{'&'.join(filter(None, (f'code={code}', job)))}"
    say(f"Live page: {address}\n  (the address is good once, for a minute)")
    if can_open():
        open_page(address)
