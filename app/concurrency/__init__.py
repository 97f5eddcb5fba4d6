"""How work runs: background tasks, retries, periodic work, locks by key, and the shutdown signal.

Imports only `base`, `errors` and `observability`.
"""
