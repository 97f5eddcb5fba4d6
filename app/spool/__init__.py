"""Token responses on disk until the database has saved them.

Imports `store` for its types, and the basics.
"""
