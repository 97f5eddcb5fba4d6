"""The headers of a query that go on to the bank."""

from collections.abc import Mapping
from functools import lru_cache

from app.api.content_negotiation import MOST_BYTES, qualities
from app.errors import InvalidRequest
from app.http_client import HeaderLines, header_lines

_PASSED_ON = (
    b"accept",
    b"accept-language",
    b"content-type",
    b"apollographql-client-name",
    b"apollographql-client-version",
    b"x-apollo-operation-name",
)
# Only what expiry can be found in: the bank must not answer in an encoding that the broker cannot look into.
_ENCODINGS = ("gzip", "deflate")
_USER_AGENT = (b"user-agent", b"stitch-token-broker")


def passed_on(headers: Mapping[bytes, bytes]) -> HeaderLines:
    """Return the lines of what goes on. Raises InvalidRequest for a value that no header may have."""
    # What is kept by these values is kept for many requests: none of it may be long.
    passed = tuple(
        [(name, value) for name in _PASSED_ON if (value := headers.get(name)) is not None and len(value) <= MOST_BYTES]
    )
    accept_encoding = headers.get(b"accept-encoding", b"")
    try:
        return _lines(passed, accept_encoding if len(accept_encoding) <= MOST_BYTES else b"")
    except ValueError as error:
        raise InvalidRequest("a header has characters that no header value may have") from error


@lru_cache(maxsize=1_024)
def _lines(passed: tuple[tuple[bytes, bytes], ...], accept_encoding: bytes) -> HeaderLines:
    """Write the lines of headers, which are the same for most of a caller's queries."""
    accepted = qualities(accept_encoding)
    encodings = [one for one in _ENCODINGS if accepted.get(one, 0) > 0] or ["identity"]
    given = dict(passed)
    given.setdefault(b"accept", b"*/*")
    return header_lines([*given.items(), (b"accept-encoding", ", ".join(encodings).encode()), _USER_AGENT])
