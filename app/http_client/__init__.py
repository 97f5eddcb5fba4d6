"""A lean HTTP/1.1 client for one origin, on asyncio's transports and llhttp's parser (RFC 9110, RFC 9112).

Knows nothing of the broker. `OriginPool` is the way in; `errors` tells what may have become of a request that failed.
"""

from app.http_client.errors import (
    BetweenBytesTimedOut,
    Broken,
    Congested,
    ConnectTimedOut,
    FirstByteTimedOut,
    Malformed,
    NotSent,
    PoolClosed,
    TimedOut,
    Unanswered,
    WholeTimedOut,
    WireError,
)
from app.http_client.headers import HeaderLines, header_lines
from app.http_client.pool import OriginPool
from app.http_client.response import WireResponse

__all__ = [
    "BetweenBytesTimedOut",
    "Broken",
    "Congested",
    "ConnectTimedOut",
    "FirstByteTimedOut",
    "HeaderLines",
    "Malformed",
    "NotSent",
    "OriginPool",
    "PoolClosed",
    "TimedOut",
    "Unanswered",
    "WholeTimedOut",
    "WireError",
    "WireResponse",
    "header_lines",
]
