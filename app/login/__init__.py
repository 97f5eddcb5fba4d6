"""TODO app/login."""
