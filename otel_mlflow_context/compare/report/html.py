"""A comparison as a page to share: one file that loads nothing, for light and for dark."""

from __future__ import annotations

from datetime import datetime, timezone
from html import escape
from typing import Final

from otel_mlflow_context.compare._result import Comparison, Verdict
from otel_mlflow_context.compare.report import labels as words
from otel_mlflow_context.compare.report import pictures

_STYLE: Final = """
:root { color-scheme: light dark; --page: #f5f6f8; --card: #fff; --ink: #1b2330; --dim: #5c6675;
  --rule: #dfe3e9; --worse: #b3261e; --worse-back: #fdecea; --better: #1a6e3c;
  --better-back: #e6f4ea; --none: #46566b; --none-back: #e9edf2;
  --c0: #5b6b80; --c1: #d9480f; --c2: #1971c2; --c3: #2f9e44; --c4: #9c36b5; --c5: #c28a00;
  --c6: #0c8599; --c7: #c2255c; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1b212a; --ink: #e7ebf0;
  --dim: #9aa6b5; --rule: #323b47; --worse: #ff9c93; --worse-back: #42211f; --better: #84d9a2;
  --better-back: #1b3626; --none: #b7c3d2; --none-back: #2a3340;
  --c0: #9fb0c6; --c1: #ff8a50; --c2: #6cb4f5; --c3: #69cf7f; --c4: #d48be6; --c5: #f0c04a;
  --c6: #5fcfe0; --c7: #f783ac; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 32px 20px 48px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; }
h1 { margin: 0 0 4px; font-size: 26px; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 0; font-size: 16px; }
p { margin: 4px 0; }
.dim, figcaption, footer { color: var(--dim); }
.card { margin-top: 16px; padding: 18px 20px; background: var(--card);
  border: 1px solid var(--rule); border-radius: 10px; overflow-wrap: anywhere; }
.said { border-left: 6px solid var(--none); }
.said.worse { border-left-color: var(--worse); }
.said.better { border-left-color: var(--better); }
.verdict { padding: 1px 9px; border-radius: 20px; font-weight: 600; white-space: nowrap;
  color: var(--none); background: var(--none-back); }
.verdict.worse { color: var(--worse); background: var(--worse-back); }
.verdict.better { color: var(--better); background: var(--better-back); }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 9px; text-align: right; border-bottom: 1px solid var(--rule);
  white-space: nowrap; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { color: var(--dim); font-weight: 500; }
th:first-child, td:last-child, th:last-child { text-align: left; }
tbody th { min-width: 90px; max-width: 200px; white-space: normal; overflow-wrap: anywhere; }
.key { display: inline-block; width: 10px; height: 10px; margin-right: 8px; border-radius: 3px; }
figure { margin: 0; overflow-x: auto; }
figcaption { margin: 2px 0 10px; font-size: 14px; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 0 16px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-top: 8px; font-size: 14px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--dim); font-size: 12.5px; }
svg text.name { fill: var(--ink); font-weight: 600; font-size: 13.5px; }
.grid, .floor { stroke: var(--rule); stroke-width: 1; }
.reference { stroke: var(--c0); stroke-width: 1; stroke-dasharray: 2 4; }
.area { fill: currentColor; fill-opacity: .28; stroke: currentColor; stroke-width: 1.2; }
.mark { stroke: currentColor; stroke-width: 2; }
.p90 { stroke-dasharray: 5 3; } .p99 { stroke-dasharray: 1.5 3; }
.whisker { stroke: currentColor; stroke-width: 3; stroke-linecap: round; opacity: .55; }
.dot, .point { fill: currentColor; }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
footer { margin-top: 16px; font-size: 14px; overflow-wrap: anywhere; }
@media (max-width: 520px) { .two { grid-template-columns: 1fr; } svg { min-width: 640px; } }
@media print { body { background: none; padding: 0; } .card { break-inside: avoid; } }
"""
_COLOURS: Final = "\n".join(
    f".{name} {{ color: var(--{name}); }} .key.{name} {{ background: var(--{name}); }}"
    for name in (f"c{index}" for index in range(pictures.COLOURS))
)


def as_html(comparison: Comparison) -> str:
    """The page."""
    title = _title(comparison)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_STYLE}{_COLOURS}
</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p class="dim">{escape(comparison.by)} in {escape(words.question(comparison))}</p>
{_said(comparison)}
{_table(comparison)}
{_figures(comparison)}
{_footer(comparison)}
</main>
</body>
</html>"""


def _title(comparison: Comparison) -> str:
    base = words.label(comparison.baseline.value)
    if len(comparison.differences) == 1:
        [(_, headline, _)] = words.sentences(comparison)
        return headline
    worse = [words.label(it.value) for it in comparison.differences if it.verdict is Verdict.WORSE]
    return f"Worse than {base}: {', '.join(worse) or 'none'}"


def _said(comparison: Comparison) -> str:
    cards = []
    said = words.sentences(comparison)
    for verdict, headline, lines in said:
        head = f"<h2>{escape(headline)}</h2>" if len(said) > 1 else ""  # else it is the title
        items = "".join(f"<p>{escape(line)}</p>" for line in lines)
        cards.append(f'<section class="card said {_class(verdict)}">{head}{items}</section>')
    return "".join(cards)


def _table(comparison: Comparison) -> str:
    heads = "".join(
        f'<th scope="col">{escape(heading or comparison.by)}</th>' for heading in words.HEADINGS
    )
    verdicts = {it.value: it.verdict for it in comparison.differences}
    rows = []
    for group, cells in zip(comparison.groups, words.cells_of(comparison), strict=True):
        name, *numbers, said = map(escape, cells)
        colour = pictures.colour_of(comparison, group)
        verdict = verdicts.get(group.value)
        pill = f'<span class="verdict {_class(verdict)}">{said}</span>' if verdict else said
        rows.append(
            f'<tr><th scope="row" title="{name}"><span class="key {colour}"></span>{name}</th>'
            f"{''.join(f'<td>{number}</td>' for number in numbers)}<td>{pill}</td></tr>"
        )
    return (
        f'<section class="card wide"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></section>"
    )


def _figures(comparison: Comparison) -> str:
    zone = "in UTC"
    distribution = _figure(
        "Latency",
        "How many traces took how long, on a logarithmic axis. Solid: the median, dashed: 90 % are "
        "quicker, dotted: 99 % are. Through all: the baseline's median. Each curve fills its row.",
        pictures.latency(comparison),
    )
    rates = _figure("Error rate", "With its 95 % interval.", pictures.errors(comparison))
    over_time = _figure("Error rate over time", zone, pictures.errors_over_time(comparison))
    medians = _figure("Median latency over time", zone, pictures.latency_over_time(comparison))
    legend = "".join(
        f'<span><span class="key {pictures.colour_of(comparison, it)}"></span>'
        f"{escape(words.label(it.value))}</span>"
        for it in comparison.groups
    )
    cards = [f'<section class="card">{it}</section>' for it in (distribution, rates) if it]
    if over_time or medians:
        cards.append(
            f'<section class="card"><div class="two">{over_time}{medians}</div>'
            f'<div class="legend">{legend}</div></section>'
        )
    return "\n".join(cards)


def _figure(title: str, caption: str, picture: str) -> str:
    if not picture:
        return ""
    return (
        f"<figure><h2>{escape(title)}</h2><figcaption>{escape(caption)}</figcaption>{picture}"
        "</figure>"
    )


def _footer(comparison: Comparison) -> str:
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    lines = (
        words.explanation(comparison),
        *comparison.notes,
        f"Traces of {comparison.source}; made by otel-mlflow-context on {made}.",
    )
    return f"<footer>{''.join(f'<p>{escape(line)}</p>' for line in lines)}</footer>"


def _class(verdict: Verdict) -> str:
    return "none" if verdict is Verdict.NO_EVIDENCE else verdict.value
