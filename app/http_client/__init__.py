"""A lean HTTP/1.1 client for a single origin, built on asyncio transports and the llhttp parser (RFC 9110, RFC 9112).

It is independent of the rest of the application. `ConnectionPool` is the entry point, and `errors` says what the origin
may have done with a request that failed.
"""

from app.http_client.errors import (
    BetweenBytesTimeout,
    ConnectError,
    ConnectTimeout,
    FirstByteTimeout,
    HttpClientError,
    HttpTimeout,
    IncompleteResponse,
    InvalidResponse,
    NoResponse,
    PoolClosed,
    PoolExhausted,
    TotalTimeout,
)
from app.http_client.headers import HeaderLines, header_lines
from app.http_client.pool import ConnectionPool
from app.http_client.response import Response

__all__ = [
    "BetweenBytesTimeout",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionPool",
    "FirstByteTimeout",
    "HeaderLines",
    "HttpClientError",
    "HttpTimeout",
    "IncompleteResponse",
    "InvalidResponse",
    "NoResponse",
    "PoolClosed",
    "PoolExhausted",
    "Response",
    "TotalTimeout",
    "header_lines",
]
