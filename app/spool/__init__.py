"""TODO app/spool."""
