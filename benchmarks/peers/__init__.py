"""Minimal proxies to compare with. Each only adds a token and forwards the query."""
