# The environments of the tests: the newest versions that are supported, one between (MLflow 3.12), and
# the oldest.
PYTHON ?= python3
VENV := .venv
MIDDLE := .venv-middle
OLDEST := .venv-oldest

# Most of the tests wait for servers. Those of a file share theirs.
PYTEST := -m pytest -n 4 --dist loadfile

.PHONY: demo test test-middle test-oldest lint bench clean

demo: $(VENV)/ready  ## two versions of an application, and MLflow asked which answered what
	$(VENV)/bin/python examples/quickstart.py

test: $(VENV)/ready  ## all tests, on the newest versions
	$(VENV)/bin/python $(PYTEST) $(ARGS)

test-middle: $(MIDDLE)/ready  ## what depends on the server, on a version between
	$(MIDDLE)/bin/python $(PYTEST) tests/mlflow_client tests/server tests/propagators tests/cli/test_verify.py $(ARGS)

test-oldest: $(OLDEST)/ready  ## all tests, on the oldest versions
	$(OLDEST)/bin/python $(PYTEST) $(ARGS)

lint: $(VENV)/ready  ## style and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

bench: $(VENV)/ready  ## what it costs, side by side with what it is compared to
	$(VENV)/bin/python benchmarks/run.py $(ARGS)

clean:
	rm -rf $(VENV) $(MIDDLE) $(OLDEST)

$(VENV)/ready: CONSTRAINTS := constraints.txt
$(VENV)/ready: GROUP := dev
$(MIDDLE)/ready: CONSTRAINTS := constraints-middle.txt
$(MIDDLE)/ready: GROUP := test
$(OLDEST)/ready: CONSTRAINTS := constraints-oldest.txt
$(OLDEST)/ready: GROUP := test

%/ready: pyproject.toml constraints.txt constraints-middle.txt constraints-oldest.txt
	$(PYTHON) -m venv --clear $*
	$*/bin/python -m pip install --quiet --upgrade pip -c $(CONSTRAINTS)
	$*/bin/python -m pip install --quiet -c $(CONSTRAINTS) --editable '.[mlflow,otlp,compare,openfeature]' --group $(GROUP)
	touch $@
