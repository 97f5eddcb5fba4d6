"""TODO app/base."""
