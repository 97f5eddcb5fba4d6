"""Selects the request headers of a query that are forwarded to the bank."""

from collections.abc import Mapping
from functools import lru_cache

from app.api.content_negotiation import MAX_HEADER_BYTES, qualities
from app.errors import InvalidRequest
from app.http_client import HeaderLines, header_lines

_FORWARDED = (
    b"accept",
    b"accept-language",
    b"content-type",
    b"apollographql-client-name",
    b"apollographql-client-version",
    b"x-apollo-operation-name",
)
# Only encodings that the broker can decode: it must recognise an expired token in the response.
_ENCODINGS = ("gzip", "deflate")
_USER_AGENT = (b"user-agent", b"stitch-token-broker")


def forwarded_headers(headers: Mapping[bytes, bytes]) -> HeaderLines:
    """Return the header lines to forward. Raises InvalidRequest if a value has characters that are not allowed."""
    # These values are keys of a cache: long ones are not forwarded.
    forwarded = tuple(
        [
            (name, value)
            for name in _FORWARDED
            if (value := headers.get(name)) is not None and len(value) <= MAX_HEADER_BYTES
        ]
    )
    accept_encoding = headers.get(b"accept-encoding", b"")
    try:
        return _lines(forwarded, accept_encoding if len(accept_encoding) <= MAX_HEADER_BYTES else b"")
    except ValueError as error:
        raise InvalidRequest("a header has characters that no header value may have") from error


@lru_cache(maxsize=1_024)
def _lines(forwarded: tuple[tuple[bytes, bytes], ...], accept_encoding: bytes) -> HeaderLines:
    """Return the header lines. Most queries of a caller have the same, so they are cached."""
    accepted = qualities(accept_encoding)
    encodings = [encoding for encoding in _ENCODINGS if accepted.get(encoding, 0) > 0] or ["identity"]
    headers = dict(forwarded)
    headers.setdefault(b"accept", b"*/*")
    return header_lines([*headers.items(), (b"accept-encoding", ", ".join(encodings).encode()), _USER_AGENT])
