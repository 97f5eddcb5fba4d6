"""What the tests stand on: real servers that are easy to start, and short ways to common situations."""
