"""TODO app/interactions."""
