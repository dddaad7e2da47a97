"""Why a request to a server failed."""

from __future__ import annotations


class ServerUnavailable(Exception):  # noqa: N818  # a state, not a mistake
    """The server could not be reached, or answered "later" until the time was over."""

    def __init__(self, why: str, *, uncertain: bool = False) -> None:
        super().__init__(why)
        self.uncertain = uncertain
        """Whether it may have taken the request, and carried it out, all the same."""


class RequestRejected(Exception):  # noqa: N818
    """The server answered with an error that is not "later"."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason
