"""One thing that one source says of the process: an attribute, its value, and who says so."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """What every source of process facts gives, the detectors choose from, and `show` prints."""

    attribute: str
    """The resource attribute, a name of `names`: ``vcs.ref.head.revision``."""
    value: str | bool
    source: str
    """Who says so, for people, without values: ``GITHUB_SHA``, ``.git/HEAD``, ``build stamp``."""
