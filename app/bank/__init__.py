"""One bank client, built from the settings, with the circuit breaker and the DPoP proofs of its queries.

Imports `oidc`, `http_client`, `settings` and the basics.
"""
