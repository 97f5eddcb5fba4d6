"""Logs, metrics and traces.

Imports only `base` and `errors`.
"""
