"""The span processor, and the instrumentor that adds it wherever spans are made."""
