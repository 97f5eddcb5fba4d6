"""TODO app/api/query."""
