"""The services that call the broker: API keys, service tokens, permissions and limits.

Imports `oidc`, `store`, `settings` and the basics.
"""
