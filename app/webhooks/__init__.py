"""Webhooks: managing them, and delivering signed events from the outbox.

Imports `callers`, `store`, `settings` and the basics.
"""
