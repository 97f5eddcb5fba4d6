"""TODO app/maintenance."""
