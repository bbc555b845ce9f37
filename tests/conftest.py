"""What every test starts from."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

# A shell that starts us in the background ignores Ctrl-C for us and for every process we start; tests that press it
# need it as a person has it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Give the next test the environment that this one found: some commands set variables for their children."""
    found = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(found)
