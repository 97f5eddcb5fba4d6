"""What the broker does, one thing a file."""
