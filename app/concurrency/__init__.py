"""TODO app/concurrency."""
