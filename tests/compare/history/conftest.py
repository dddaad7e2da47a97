"""The command `history` in place of `compare`."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest


@pytest.fixture
def command(command: Any) -> Any:
    return partial(command, subcommand="history")
