"""TODO app/bank."""
