"""Header fields: request headers are checked and encoded here, and the response's `Keep-Alive` header is read."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NewType

# Complete header lines with their line ends. Only `header_lines` makes them, so they are known to be valid. They can be
# kept and used for many requests.
HeaderLines = NewType("HeaderLines", bytes)

# RFC 9110, section 5.6.2 (token) and section 5.5 (field-content, with obs-text): no CR, LF, NUL or other controls.
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
# These delimit the message or apply to one connection only (RFC 9110, section 7.6.1): only the client sets them.
_RESERVED_NAMES = frozenset(
    (
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_KEEP_ALIVE_TIMEOUT = re.compile(r"(?:^|[,;\s])timeout\s*=\s*\"?(\d{1,6})", re.IGNORECASE)


def header_lines(fields: Iterable[tuple[bytes, bytes]]) -> HeaderLines:
    """Encode header fields as lines (RFC 9112, section 5).

    Raises ValueError if a name or value is not allowed in a request. The message does not contain the value.
    """
    lines = []
    for name, value in fields:
        if not _NAME.fullmatch(name) or name.lower() in _RESERVED_NAMES:
            raise ValueError(f"not a header field that may be sent: {name!r}")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of {name.decode()} has characters that no header value may have")
        lines.append(b"%b: %b\r\n" % (name, value.strip(b" \t")))
    return HeaderLines(b"".join(lines))


@lru_cache(maxsize=16)
def idle_timeout(keep_alive: str, default: float) -> float:
    """Return after how many idle seconds a connection must not be reused, according to its `Keep-Alive` header.

    RFC 2068, section 19.7.1.1; Node sends it with 5 seconds. The result is a second less than announced, since the
    request takes time to arrive: a request that reaches a connection just as the server closes it gets no response and
    must not be repeated. The result is never more than `default`.
    """
    match = _KEEP_ALIVE_TIMEOUT.search(keep_alive)
    if match is None:
        return default
    announced = float(match[1])
    return min(default, max(announced - 1, announced / 2))
