"""Measures the cost of the broker, and compares it with other proxies: `make bench`. README.md explains the figures."""
