"""The OpenID Connect client: discovery, authorization, tokens, id_tokens and DPoP.

Imports only the basics: neither the database nor the web framework.
"""
