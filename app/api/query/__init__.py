"""The endpoint of the query path, a plain ASGI application for speed. Imports `query` and `http_client`."""
