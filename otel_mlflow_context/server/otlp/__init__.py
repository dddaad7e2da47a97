"""An OTLP/HTTP request: its body, its spans, and the entry span of each trace."""
