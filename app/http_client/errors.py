"""What can go wrong with a request, by what the origin may have done with it.

    HttpClientError
    ├── PoolExhausted          no connection became free, or the queue is full: nothing was sent
    ├── ConnectError           no connection could be opened: nothing was sent, so the request may be sent again
    │   ├── ConnectTimeout
    │   └── PoolClosed
    ├── NoResponse             sent, perhaps in part, and no byte came back: the origin may have processed it
    │   └── FirstByteTimeout
    └── IncompleteResponse     the response ended early or is invalid: the origin processed the request
        ├── BetweenBytesTimeout
        ├── TotalTimeout
        └── InvalidResponse

`HttpTimeout` is a second base class of every timeout above. No error message contains any part of a request or a
response.
"""


class HttpClientError(Exception):
    """The request did not end with a complete response."""


class HttpTimeout(Exception):
    """Second base class of errors that are caused by a timeout."""


class PoolExhausted(HttpClientError):
    """Too many requests are waiting for a connection already, or this one has waited too long."""


class ConnectError(HttpClientError):
    """No connection could be opened. No part of the request was sent."""


class ConnectTimeout(ConnectError, HttpTimeout):
    """No connection could be opened in time."""


class PoolClosed(ConnectError):
    """The pool is closed and accepts no requests."""


class NoResponse(HttpClientError):
    """The request was sent, at least in part, and nothing came back."""


class FirstByteTimeout(NoResponse, HttpTimeout):
    """The request was sent, and nothing came back in time."""


class IncompleteResponse(HttpClientError):
    """The response has started, but did not arrive completely."""


class BetweenBytesTimeout(IncompleteResponse, HttpTimeout):
    """The response has started, and then no further byte arrived in time."""


class TotalTimeout(IncompleteResponse, HttpTimeout):
    """The response has started, and did not end within the time for the whole exchange."""


class InvalidResponse(IncompleteResponse):
    """What arrived is not a valid HTTP/1.1 response, or not one that the client accepts."""
