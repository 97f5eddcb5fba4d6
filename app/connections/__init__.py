"""Linked bank accounts: reading, disconnecting, and revoking their tokens at the bank.

Imports `bank`, `refresh` and what they may import.
"""
