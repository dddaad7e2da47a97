"""Facts in the processes that a program starts: right in each, and found once in each."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT, track

PROGRAM = """
import json, multiprocessing, os, sys
from otel_mlflow_context.detectors import _process

times = 0
find_out = _process.code_sources

def counted(*arguments, **options):
    global times
    times += 1
    return find_out(*arguments, **options)

_process.code_sources = counted

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otel_mlflow_context import MlflowContextSpanProcessor, detect_resource

def work(name):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()  # its resource comes from the detectors, as the SDK loads them
    provider.add_span_processor(MlflowContextSpanProcessor())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("test").start_span("ask").end()
    [span] = exporter.get_finished_spans()
    facts = {key: value for key, value in span.attributes.items() if key.startswith("mlflow.")}
    resource = {key: span.resource.attributes.get(key) for key in detect_resource().attributes}
    with open(name + ".json", "w") as file:
        json.dump([os.getpid(), times, facts, resource == dict(detect_resource().attributes)], file)

if __name__ == "__main__":
    work("parent")
    workers = multiprocessing.get_context(sys.argv[1])
    started = [workers.Process(target=work, args=(f"worker-{number}",)) for number in (1, 2)]
    for worker in started:
        worker.start()
    for worker in started:
        worker.join()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_each_process_has_the_same_facts_and_finds_them_once(repository, commit, method):
    (repository / "job.py").write_text(PROGRAM)
    track(repository, "job.py")
    subprocess.run(
        [sys.executable, "job.py", method],
        cwd=repository,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "git,mlflow_source,deployment",
        },
        check=True,
        timeout=60,
    )

    answers = [
        json.loads((repository / f"{name}.json").read_text())
        for name in ("parent", "worker-1", "worker-2")
    ]
    assert len({process for process, *_ in answers}) == 3
    for _, times, facts, is_same in answers:
        assert times == 1
        assert is_same
        assert facts["mlflow.source.git.commit"] == commit
        assert facts["mlflow.source.git.dirty"] == "false"
        assert facts["mlflow.source.name"] == "job.py"
