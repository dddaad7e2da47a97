"""What stands before the servers: it counts, and may refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from servers import Front


@pytest.fixture
def own_front(own_server: Any) -> Iterator[Front]:
    """Before the server that the test may kill."""
    with Front.before(own_server.port) as front:
        yield front
