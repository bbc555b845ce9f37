"""The ledger of a test, in a folder of its own."""

from __future__ import annotations

import pytest

from mipro_walk.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    yield opened
    opened.close()
