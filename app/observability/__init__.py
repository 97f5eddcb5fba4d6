"""TODO app/observability."""
