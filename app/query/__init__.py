"""TODO app/query."""
