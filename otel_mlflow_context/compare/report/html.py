"""A comparison as a self-contained page, in light and dark colors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from html import escape
from importlib.resources import files

from otel_mlflow_context.compare.explain.labels import sections
from otel_mlflow_context.compare.metrics import Metric, Share
from otel_mlflow_context.compare.quality.choices import Choices
from otel_mlflow_context.compare.report import charts, labels
from otel_mlflow_context.compare.result import Result, Verdict


def as_html(comparison: Result) -> str:
    """The page, which loads nothing."""
    return page(
        _title(comparison),
        f"{comparison.by} in {labels.question(comparison)}",
        [
            _findings(comparison),
            _table(comparison),
            _assessments(comparison),
            _explanations(comparison),
            _figures(comparison),
            footer(labels.limits(comparison)[1:], comparison.source),
        ],
    )


def page(title: str, subtitle: str, sections: Sequence[str]) -> str:
    """A page with the style of all reports."""
    title = escape(title)
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    body = "\n".join(sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="dim">{escape(subtitle)}</p>
{body}
</main>
</body>
</html>"""


def _title(comparison: Result) -> str:
    if len(comparison.differences) == 1:
        [(_, headline, _)] = labels.sentences(comparison)
        return headline
    worse = [labels.label(it.value) for it in comparison.differences if it.verdict is Verdict.WORSE]
    base = labels.label(comparison.baseline.value)
    return f"Worse than {base}: {', '.join(worse) or 'none'}"


def _findings(comparison: Result) -> str:
    cards = []
    findings = labels.sentences(comparison)
    for verdict, headline, lines in findings:
        # Of a single one the headline is the title.
        head = f"<h2>{escape(headline)}</h2>" if len(findings) > 1 else ""
        items = "".join(f"<p>{escape(line)}</p>" for line in lines)
        cards.append(f'<section class="card finding {class_of(verdict)}">{head}{items}</section>')
    return "".join(cards)


def _table(comparison: Result) -> str:
    headings, rows = labels.table_of(comparison)
    verdicts = {it.value: it.verdict for it in comparison.differences}
    body = []
    for group, cells in zip(comparison.groups, rows, strict=True):
        name, *numbers, verdict_text = map(escape, cells)
        color = charts.color_of(comparison, group)
        verdict = verdicts.get(group.value)
        style = f' class="verdict {class_of(verdict)}"' if verdict else ""
        body.append(
            f'<tr><th scope="row" title="{name}"><span class="swatch {color}"></span>{name}</th>'
            f"{''.join(f'<td>{number}</td>' for number in numbers)}"
            f"<td><span{style}>{verdict_text}</span></td></tr>"
        )
    return table(headings, body)


def table(headings: Sequence[str], rows: Sequence[str], style: str = "", title: str = "") -> str:
    """A table of rows that are HTML."""
    heads = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    return (
        f'<section class="card wide">{title}<table><thead><tr{style}>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></section>"
    )


def _assessments(comparison: Result) -> str:
    headings, rows = labels.assessments_of(comparison)
    if not rows:
        return ""
    body = []
    for index, (name, value, *numbers) in enumerate(rows):
        group = comparison.groups[index % len(comparison.groups)]
        color = charts.color_of(comparison, group)
        cells = "".join(f"<td>{escape(number)}</td>" for number in numbers)
        body.append(
            f'<tr><th scope="row">{escape(name)}</th>'
            f'<th><span class="swatch {color}"></span>{escape(value)}</th>{cells}</tr>'
        )
    return table(headings, body, ' class="second"', "<h2>Assessments</h2>")


def _figures(comparison: Result) -> str:
    distribution = figure(
        "Latency",
        "How many traces took how long, on a logarithmic axis. Solid: the median, dashed: 90 % are "
        "quicker, dotted: 99 % are. Through all: the baseline's median. Each curve fills its row.",
        charts.latency(comparison),
    )
    rates = figure("Error rate", "With its 95 % interval.", charts.errors(comparison))
    quality = [
        figure(metric.name, _captions(metric), chart)
        for metric in comparison.metrics
        if metric.assessment and (chart := charts.assessment(comparison, metric))
    ]
    over_time = "".join(
        figure(f"{name} over time", "in UTC", charts.over_time(comparison, name))
        for name in charts.OVER_TIME
    )
    legend = "".join(
        f'<span><span class="swatch {charts.color_of(comparison, it)}"></span>'
        f"{escape(labels.label(it.value))}</span>"
        for it in comparison.groups
    )
    cards = [distribution, rates, *quality]
    if over_time:
        cards.append(f'<div class="two">{over_time}</div><div class="legend">{legend}</div>')
    return "\n".join(f'<section class="card">{it}</section>' for it in cards if it)


def _captions(metric: Metric) -> str:
    if metric.kind is Choices:
        return "The share of each text among the judged traces, with its 95 % interval."
    what = f"The share of {metric.text or 'yes'}" if metric.kind is Share else "The mean"
    return f"{what} among the judged traces, with its 95 % interval."


def figure(title: str, caption: str, chart: str) -> str:
    """A chart under its title; nothing where there is none."""
    if not chart:
        return ""
    return (
        f"<figure><h2>{escape(title)}</h2><figcaption>{escape(caption)}</figcaption>{chart}"
        "</figure>"
    )


def _explanations(comparison: Result) -> str:
    cards = []
    for explanation in comparison.explanations:
        parts = [f"<h2>Why: {escape(labels.label(explanation.value))}</h2>"]
        for section in sections(explanation, comparison.level):
            parts.append(f"<h3>{escape(section.heading)}</h3><ul>")
            for line, link in zip(section.lines, section.links, strict=True):
                to = f' <a href="{escape(link)}">open</a>' if link else ""
                parts.append(f"<li>{escape(line)}{to}</li>")
            parts.append("</ul>")
        cards.append(f'<section class="card why">{"".join(parts)}</section>')
    return "".join(cards)


def footer(lines: Sequence[str], source: str) -> str:
    """The limits of the numbers, and where they are from."""
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    lines = [*lines, f"Traces of {source}; made by otel-mlflow-context on {made}."]
    return f"<footer>{''.join(f'<p>{escape(line)}</p>' for line in lines)}</footer>"


def class_of(verdict: Verdict) -> str:
    """The class of the color of a verdict."""
    return "none" if verdict is Verdict.NO_EVIDENCE else verdict.value
