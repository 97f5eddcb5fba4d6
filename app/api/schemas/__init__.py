"""TODO app/api/schemas."""
