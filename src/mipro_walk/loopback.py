"""Whether an address stays on this machine: one rule for keys, clients and servers. Imports nothing of the project."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(url: str) -> bool:
    """Tell whether ``url`` names this machine as written (no lookup): localhost, 127.0.0.0/8 (also mapped) or ::1."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # the address itself knows this from Python 3.13 on
    return (mapped or address).is_loopback
