"""A login at the bank, from the start of a session to the stored connection.

Imports `bank`, `connections`, `spool` and what they may import.
"""
