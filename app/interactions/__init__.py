"""Steps of a query or payment that a user has to complete at the bank in a browser.

Imports `query`, `refresh`, `login` and what they may import.
"""
