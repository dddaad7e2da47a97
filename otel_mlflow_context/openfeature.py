"""Feature flags: an OpenFeature hook that records on the trace which variant of each it got."""

from __future__ import annotations

import logging
import re
from typing import Any, Final

from otel_mlflow_context.context.active_traces import ACTIVE_TRACES, record
from otel_mlflow_context.facts.values import MAX_LENGTH, clean
from otel_mlflow_context.semconv import FEATURE_FLAG_PREFIX

try:
    from openfeature.flag_evaluation import FlagEvaluationDetails, Reason
    from openfeature.hook import Hook, HookContext
except ImportError as error:
    raise ImportError(
        f"{error}: FeatureFlagHook needs more, `pip install 'otel-mlflow-context[openfeature]'`"
    ) from error

ACTIVE_TRACES.enabled = True
_logger = logging.getLogger(__name__)

# In a key of trace metadata: see `semconv.is_allowed_key`.
_NOT_ALLOWED: Final = re.compile(r"[^A-Za-z0-9_.:/~-]")
_MAX_KEY_LENGTH: Final = MAX_LENGTH - len(FEATURE_FLAG_PREFIX)


class FeatureFlagHook(Hook):
    """Records each flag that is evaluated in a trace as its metadata ``feature_flag_<key>``.

    The value is the variant's name, or the flag's value where the provider names none; of a flag
    that is evaluated twice in a trace the last one. Nothing is recorded of a failed evaluation, nor
    outside of a trace.

    Example:

    >>> from openfeature import api
    >>> api.add_hooks([FeatureFlagHook()])
    >>> api.clear_hooks()
    """

    def after(
        self,
        hook_context: HookContext,
        details: FlagEvaluationDetails[Any],
        hints: object,  # noqa: ARG002
    ) -> None:
        try:
            key = clean(_NOT_ALLOWED.sub(" ", hook_context.flag_key), _MAX_KEY_LENGTH)
            variant = clean(details.variant or details.value)
            if key and variant and details.error_code is None and details.reason != Reason.ERROR:
                record({FEATURE_FLAG_PREFIX + key: variant})
        except Exception:
            _logger.debug("a feature flag is not recorded", exc_info=True)
