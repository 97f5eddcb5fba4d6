"""TODO app/api/routes."""
