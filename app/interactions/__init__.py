"""Steps of a query or payment that a user has to complete in a browser at the bank.

Imports `query`, `refresh`, `login` and what they may import.
"""
