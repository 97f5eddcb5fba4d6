"""TODO app/connections."""
