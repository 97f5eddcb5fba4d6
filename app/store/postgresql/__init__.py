"""TODO app/store/postgresql."""
