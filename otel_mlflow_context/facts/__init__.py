"""Facts, each with one row in `semconv`: where they are read, and how a span carries them."""
