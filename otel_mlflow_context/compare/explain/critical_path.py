"""The critical path of a trace: which span its time is spent in, at each instant.

The path is followed backwards from the end of a span: the child that ended last was waited for,
then the one that ended last before that one began, and so on; the time between them is the span's
own. Children that run at the same time are counted once, so that the times of all spans add up to
the duration of the trace. (Jaeger and Uber's CRISP define it like this.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from otel_mlflow_context.compare.sources.spans import Span


def time_of_spans(spans: Sequence[Span]) -> dict[str, int]:
    """The nanoseconds of a trace that each span is on its critical path, by span id.

    Time between several entry spans is in none. A span that is its own ancestor is left out.

    >>> spans = [Span("a", None, "ask", 0, 10), Span("b", "a", "get", 2, 5)]
    >>> time_of_spans([*spans, Span("c", "a", "get", 3, 7)])
    {'a': 5, 'b': 1, 'c': 4}
    """
    ids = {span.span_id for span in spans}
    children: defaultdict[str | None, list[Span]] = defaultdict(list)
    for span in spans:
        children[span.parent_id if span.parent_id in ids else None].append(span)
    for them in children.values():
        them.sort(key=lambda it: (it.end_ns, it.start_ns), reverse=True)
    times: dict[str, int] = {}
    first = min((it.start_ns for it in spans), default=0)
    last = max((it.end_ns for it in spans), default=0)
    # A stack, because the depth of a trace is not in our hands.
    waiting: list[tuple[str | None, int, int]] = [(None, first, last)]
    while waiting:
        span_id, start, end = waiting.pop()
        own = 0
        for child in children.get(span_id, ()):
            if end <= start:
                break
            child_end, child_start = min(child.end_ns, end), max(child.start_ns, start)
            if child_end <= child_start:
                continue
            own += end - child_end
            waiting.append((child.span_id, child_start, child_end))
            end = child_start
        if span_id is not None:
            times[span_id] = own + max(end - start, 0)
    return times
