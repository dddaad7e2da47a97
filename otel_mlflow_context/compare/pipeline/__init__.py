"""What a pipeline asks for: enough traces, and a difference that matters."""
