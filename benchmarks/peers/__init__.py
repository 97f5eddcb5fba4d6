"""Proxies that others would write, to compare with. Each puts a token in and passes the query on; none does more."""
