"""Where a difference comes from: by span, error, model, and by what the traces have in common."""
