"""TODO app/refresh."""
