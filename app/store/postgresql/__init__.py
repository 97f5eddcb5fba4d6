"""What the store needs of PostgreSQL: the database itself, notifications, pagination, and migrations.

Imports only `tables` from the rest of `store`.
"""
