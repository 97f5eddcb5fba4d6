"""TODO app/callers."""
