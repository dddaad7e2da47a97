"""``python -m otel_mlflow_context.cli``: the console script ``otel-mlflow-context``."""

import sys

from otel_mlflow_context.cli import main

sys.exit(main())
