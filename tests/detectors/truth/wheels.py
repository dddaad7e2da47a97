"""The distributions that are made for the cases."""

from __future__ import annotations

from detectors.truth.environment import Wheel

LAUNCHERS: list[str] = ["uvicorn"]
WHEELS: list[Wheel] = [Wheel("whirl", "9.9", {"whirl.py": ""})]
