"""Feature flags: an OpenFeature hook that says on the trace which variant of each flag it got."""

from __future__ import annotations

import logging
from typing import Any, Final

from otel_mlflow_context.context import active_traces
from otel_mlflow_context.facts.values import MAX_LENGTH, clean
from otel_mlflow_context.semconv import FEATURE_FLAG_PREFIX

try:
    from openfeature.flag_evaluation import FlagEvaluationDetails, Reason
    from openfeature.hook import Hook, HookContext
except ImportError as error:
    raise ImportError(
        f"{error}: FeatureFlagHook needs more, `pip install 'otel-mlflow-context[openfeature]'`"
    ) from error

active_traces.watch()
_logger = logging.getLogger(__name__)

_MAX_KEY_LENGTH: Final = MAX_LENGTH - len(FEATURE_FLAG_PREFIX)


class FeatureFlagHook(Hook):
    """Records each flag that is evaluated in a trace as its metadata ``feature_flag_<key>``.

    The value is the variant's name, or the flag's value where the provider names none. A flag
    whose evaluation failed says nothing, and outside of a trace there is nothing to say it on. What
    is asked of a flag twice in a trace stands there as it was said last.

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
            key = clean(hook_context.flag_key.replace(",", " "), _MAX_KEY_LENGTH)
            variant = clean(details.variant or details.value)
            if key and variant and details.error_code is None and details.reason != Reason.ERROR:
                active_traces.record({FEATURE_FLAG_PREFIX + key: variant})
        except Exception:
            _logger.debug("a feature flag is not recorded", exc_info=True)
