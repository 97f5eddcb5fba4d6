"""TODO app/api/server."""
