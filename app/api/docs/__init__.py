"""TODO app/api/docs."""
