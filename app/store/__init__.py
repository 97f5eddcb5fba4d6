"""All SQL. Functions take an open transaction from `Database.transaction`; none of them commits.

Imports only `settings` and the basics.
"""
