"""The one TLS context beside the query path: to read the trusted certificates takes tens of milliseconds."""

import ssl
from functools import cache


@cache
def verified() -> ssl.SSLContext:
    """Return a context that verifies certificates and names; `SSL_CERT_FILE` counts, as it is at the first use."""
    return ssl.create_default_context()
