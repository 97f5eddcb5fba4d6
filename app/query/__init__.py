"""GraphQL queries to the bank: sending them with a valid token, and telling queries from mutations.

Imports `bank`, `refresh`, `http_client` and the basics.
"""
