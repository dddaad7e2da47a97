"""Host names and addresses: what of a text is neither is trusted by nothing here."""

from __future__ import annotations

import re
from typing import Final

# RFC 1123, with the underscore that container networks have; at most 253 characters.
_LABEL: Final = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")
# Clients take a name with a number at its end for an IPv4 address: 127.1, 0x7f.1, 2130706433
# (https://url.spec.whatwg.org/#ends-in-a-number-checker).
_ENDS_IN_NUMBER: Final = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")


def host_name(text: str) -> str | None:
    """A host name in lower case and without the dot at its end; None for every other text.

    >>> host_name("API.internal."), host_name("evil.com%2f.internal"), host_name("127.1")
    ('api.internal', None, None)
    """
    # Before it is lower: the lower case of the Kelvin sign is an ASCII "k".
    if not text.isascii():
        return None
    name = text.lower().removesuffix(".")
    return name if _NAME.fullmatch(name) and not _ENDS_IN_NUMBER.fullmatch(name) else None
