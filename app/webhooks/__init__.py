"""Webhooks: registering them, signing events, and delivering events through the outbox.

Imports `callers`, `store`, `settings` and the basics.
"""
