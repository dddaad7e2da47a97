# Environments for the newest supported versions, for MLflow 3.12, and for the oldest supported versions.
PYTHON ?= python3
VENV := .venv
MIDDLE := .venv-middle
OLDEST := .venv-oldest

# The bytecode of the tests is kept, whatever the shell says: many processes import them.
export PYTHONDONTWRITEBYTECODE :=

# Most tests wait for servers, which the tests of one file share. tests/conftest.py has their order.
PYTEST := -m pytest -n 4 --dist loadfile --no-loadscope-reorder

# Where those are that `make test` leaves to `make test-long`, which need no order.
LONG := tests/test_benchmarks.py tests/server tests/documentation tests/mlflow_client/exporter tests/compare tests/detectors

# What the documentation shows is for the newest versions; the others know nothing of MLflow and
# OpenTelemetry, or only traces that other files read too.
NEWEST_ONLY := --ignore tests/documentation --ignore tests/cli/test_stamp.py \
	--ignore tests/detectors/repository --ignore tests/detectors/program \
	--ignore tests/detectors/platforms --ignore tests/compare/test_statistics.py \
	--ignore tests/compare/pipeline/test_formats.py --ignore tests/compare/pipeline/test_tolerance.py \
	--ignore tests/compare/test_report.py --ignore tests/compare/history/test_report.py \
	--ignore tests/compare/test_command.py --ignore tests/compare/history/test_commits.py

.PHONY: help demo test test-long test-middle test-oldest lint bench release clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/ready  ## run two versions of an application, and search their traces
	$(VENV)/bin/python examples/quickstart.py

test: $(VENV)/ready  ## run the tests with the newest versions; ARGS are passed to pytest
	$(VENV)/bin/python $(PYTEST) -m "not long and not slow" $(ARGS)

test-long: $(VENV)/ready  ## run the others: detection in 900 programs, simulations, broken servers
	$(VENV)/bin/python $(PYTEST) -m "long or slow" --dist load --maxschedchunk 1 $(LONG) $(ARGS)

test-middle: $(MIDDLE)/ready  ## run the tests that depend on the server with MLflow 3.12
	$(MIDDLE)/bin/python $(PYTEST) tests/mlflow_client tests/server tests/propagators tests/cli/test_verify.py $(ARGS)

test-oldest: $(OLDEST)/ready  ## run the tests with the oldest versions
	$(OLDEST)/bin/python $(PYTEST) -m "not long" $(NEWEST_ONLY) $(ARGS)

lint: $(VENV)/ready  ## check style and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

bench: $(VENV)/ready  ## measure the overhead beside alternatives; ARGS are sections, such as "spans"
	$(VENV)/bin/python benchmarks/run.py $(ARGS)

release: $(VENV)/ready  ## build sdist, wheel, SBOM and hashes of the last commit into dist/, and check them
	$(VENV)/bin/python .ci/release.py

clean:  ## remove the environments
	rm -rf $(VENV) $(MIDDLE) $(OLDEST)

$(VENV)/ready: CONSTRAINTS := constraints.txt
$(VENV)/ready: GROUP := dev
$(MIDDLE)/ready: CONSTRAINTS := constraints-middle.txt
$(MIDDLE)/ready: GROUP := test
$(OLDEST)/ready: CONSTRAINTS := constraints-oldest.txt
$(OLDEST)/ready: GROUP := test

# uv takes seconds where pip takes more than a minute; without it, pip does the same. What the tests
# import is compiled by importing it once: all that is installed would take twice as long.
%/ready: INSTALL = -c $(CONSTRAINTS) --editable '.[mlflow,otlp,databricks,compare,openfeature]' --group $(GROUP)
%/ready: pyproject.toml constraints.txt constraints-middle.txt constraints-oldest.txt
	$(PYTHON) -m venv --clear $*
	$*/bin/python -m pip install --quiet uv -c $(CONSTRAINTS) && \
		$*/bin/uv pip install --quiet --python $*/bin/python $(INSTALL) || \
		{ $*/bin/python -m pip install --quiet --upgrade pip -c $(CONSTRAINTS) && \
		$*/bin/python -m pip install --quiet $(INSTALL); }
	$*/bin/python -m pytest --collect-only --quiet >/dev/null || true  # the tests show what fails
	touch $@
