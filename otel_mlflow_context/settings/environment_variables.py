"""The names of all environment variables that this package reads, and what each is for.

``opentelemetry-instrument`` makes a command-line flag of every name here that starts with
``OTEL_`` (entry point group ``opentelemetry_environment_variables``), so a string here is the
variable's name, and the comment above it is its documentation. OpenTelemetry's own variables,
``OTEL_RESOURCE_ATTRIBUTES`` and ``OTEL_SERVICE_NAME``, are the SDK's to read and to declare: a
flag that two modules declare stops ``opentelemetry-instrument``. What the platforms set is in
`detectors._platforms`.
"""

# More resource attributes and baggage keys to carry into the trace metadata, under their own
# names: comma-separated.
OTEL_MLFLOW_CONTEXT_METADATA_KEYS = "OTEL_MLFLOW_CONTEXT_METADATA_KEYS"

# Which span speaks for a trace: "root" (default), the span without a parent; or "service", the
# entry span of this service, for services behind a front end whose spans never reach MLflow.
OTEL_MLFLOW_CONTEXT_TRACE_BOUNDARY = "OTEL_MLFLOW_CONTEXT_TRACE_BOUNDARY"

# What `mlflow.source.type` says: "environment" (default), the deployment environment where one
# is known; or "kind", always LOCAL, NOTEBOOK or JOB.
OTEL_MLFLOW_CONTEXT_SOURCE_TYPE = "OTEL_MLFLOW_CONTEXT_SOURCE_TYPE"

# "true": write each fact as attribute `mlflow.traceTag.<key>` too, which MLflow's OTLP endpoint
# (3.13 and later) turns into a tag of the trace. Default "false".
OTEL_MLFLOW_CONTEXT_TAGS = "OTEL_MLFLOW_CONTEXT_TAGS"

# "false": no check for uncommitted changes, which starts git. Default "true".
OTEL_MLFLOW_CONTEXT_DIRTY = "OTEL_MLFLOW_CONTEXT_DIRTY"

# "true": `git describe --tags` says the version, which starts git. Default "false".
OTEL_MLFLOW_CONTEXT_DESCRIBE = "OTEL_MLFLOW_CONTEXT_DESCRIBE"

# The path of the build stamp (a JSON file, or the folder that holds it). By default it is looked
# for beside the program.
OTEL_MLFLOW_CONTEXT_STAMP = "OTEL_MLFLOW_CONTEXT_STAMP"

# "true": write the facts of the process as tags of MLflow runs too. Default "false".
OTEL_MLFLOW_CONTEXT_RUNS = "OTEL_MLFLOW_CONTEXT_RUNS"

# The request headers that the propagator `mlflow_headers` reads, each of the three if wanted.
# Default "session=X-Session-ID,user=X-User-ID,request=X-Request-ID".
OTEL_MLFLOW_CONTEXT_REQUEST_HEADERS = "OTEL_MLFLOW_CONTEXT_REQUEST_HEADERS"

# The baggage keys that the propagators `mlflow_headers` and `trusted_baggage` take from incoming
# requests, comma-separated; "feature_flag_*" is every key that begins so. Default "*".
OTEL_MLFLOW_CONTEXT_INBOUND_KEYS = "OTEL_MLFLOW_CONTEXT_INBOUND_KEYS"

# Where the propagator `trusted_baggage` lets baggage go, comma-separated: names, "*.suffix",
# addresses and networks. Default "localhost,127.0.0.0/8,::1".
OTEL_MLFLOW_CONTEXT_TRUSTED_HOSTS = "OTEL_MLFLOW_CONTEXT_TRUSTED_HOSTS"

# "true": `trusted_baggage` lets baggage go into messages (Kafka, Celery, ...) too. Default "false".
OTEL_MLFLOW_CONTEXT_TRUSTED_MESSAGING = "OTEL_MLFLOW_CONTEXT_TRUSTED_MESSAGING"

# What is written and sent of a user's id: "plain" (default); "hash", its HMAC-SHA256 with the key
# below; or "drop", nothing.
OTEL_MLFLOW_CONTEXT_USER_ID = "OTEL_MLFLOW_CONTEXT_USER_ID"

# The key of "hash": at least 16 characters, the same in every service.
OTEL_MLFLOW_CONTEXT_USER_ID_KEY = "OTEL_MLFLOW_CONTEXT_USER_ID_KEY"

# Seconds after which the server plugin ends a trace whose root has not come, by its entry span;
# "0": never. Default "3600".
OTEL_MLFLOW_CONTEXT_CLOSE_AFTER = "OTEL_MLFLOW_CONTEXT_CLOSE_AFTER"

# The deployment, in the names that MLflow's production tracing guide uses.
APP_VERSION = "APP_VERSION"
APP_ENVIRONMENT = "APP_ENVIRONMENT"
DEPLOYMENT_ID = "DEPLOYMENT_ID"
REGION = "REGION"

# MLflow's own: the logged model that the process serves,
MLFLOW_ACTIVE_MODEL_ID = "MLFLOW_ACTIVE_MODEL_ID"
# where traces go,
MLFLOW_TRACKING_URI = "MLFLOW_TRACKING_URI"
MLFLOW_EXPERIMENT_NAME = "MLFLOW_EXPERIMENT_NAME"
MLFLOW_EXPERIMENT_ID = "MLFLOW_EXPERIMENT_ID"
MLFLOW_RUN_ID = "MLFLOW_RUN_ID"
MLFLOW_WORKSPACE = "MLFLOW_WORKSPACE"
# and who sends them.
MLFLOW_TRACKING_USERNAME = "MLFLOW_TRACKING_USERNAME"
MLFLOW_TRACKING_PASSWORD = "MLFLOW_TRACKING_PASSWORD"  # noqa: S105
MLFLOW_TRACKING_TOKEN = "MLFLOW_TRACKING_TOKEN"  # noqa: S105
MLFLOW_TRACKING_INSECURE_TLS = "MLFLOW_TRACKING_INSECURE_TLS"
MLFLOW_TRACKING_SERVER_CERT_PATH = "MLFLOW_TRACKING_SERVER_CERT_PATH"
MLFLOW_TRACKING_CLIENT_CERT_PATH = "MLFLOW_TRACKING_CLIENT_CERT_PATH"

# The launchers' own, which name the application where the command line does not.
FLASK_APP = "FLASK_APP"
APP = "APP"  # Celery's

# The notebook's: its path in Jupyter; whether Databricks runs the process, and as a job.
JPY_SESSION_NAME = "JPY_SESSION_NAME"
DATABRICKS_RUNTIME_VERSION = "DATABRICKS_RUNTIME_VERSION"
DB_IS_JOB_CLUSTER = "DB_IS_JOB_CLUSTER"
