"""Which program this process runs, and what its installation records of it."""
