"""A git repository, read from its files; git itself is started only for what they do not hold."""
