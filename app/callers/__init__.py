"""The services that call the broker: their API keys, service tokens, permissions and limits.

Imports `oidc`, `store`, `settings` and the basics.
"""
