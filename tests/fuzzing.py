"""How long the property tests of hostile input look: ``FUZZ_EXAMPLES=100000`` for a run by hand."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

fuzz = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)

# Lone surrogates and control characters included: that is what comes from outside.
anything = st.text(st.characters(exclude_categories=()), max_size=300)
