"""The span processor, and the instrumentor that adds it to every tracer provider."""
