"""Access tokens: caching them, and refreshing each with one request even if many replicas need it.

Imports `bank`, `spool`, `store` and the basics.
"""
