"""A comparison as test cases in JUnit's XML, which every pipeline shows."""

from __future__ import annotations

import re
from typing import Final
from xml.etree import ElementTree as ET

from otel_mlflow_context.compare.report import labels
from otel_mlflow_context.compare.result import Result, Verdict

# https://www.w3.org/TR/xml/#charsets
_NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(comparison: Result) -> str:
    """A suite for each candidate, with a case for each metric: worse is a failure.

    A metric that cannot be tested is skipped; what was found is the output of its case.
    """
    suites = ET.Element("testsuites", name="otel-mlflow-context compare")
    sentences = labels.sentences(comparison)
    for difference, (_, headline, lines) in zip(comparison.differences, sentences, strict=True):
        suite = ET.SubElement(suites, "testsuite", name=_text(headline))
        tested = [metric for metric in comparison.metrics if metric.tested]
        for metric, line in zip(tested, lines, strict=True):
            case = ET.SubElement(
                suite,
                "testcase",
                classname=_text(f"{comparison.by} {labels.label(difference.value)}"),
                name=_text(metric.name),
            )
            change = difference.changes.get(metric.name)
            if change is None:
                ET.SubElement(case, "skipped", message=_text(line))
            elif change.verdict is Verdict.WORSE:
                ET.SubElement(case, "failure", message=_text(line), type="worse")
            else:
                ET.SubElement(case, "system-out").text = _text(line)
        for attribute, tag in (("tests", "testcase"), ("failures", "failure")):
            suite.set(attribute, str(len(list(suite.iter(tag)))))
        suite.set("skipped", str(len(list(suite.iter("skipped")))))
        ET.SubElement(suite, "system-out").text = _text("\n".join(labels.limits(comparison)))
    ET.indent(suites)
    text = ET.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'


def _text(text: str) -> str:
    """Text without the characters that XML cannot have."""
    return _NO_XML.sub("\ufffd", text)
