"""Header fields as they are written into a request (RFC 9112, section 5), checked when they are made."""

import re
from collections.abc import Iterable
from typing import NewType

# Whole lines, each with its end: checked by `header_lines`, which alone makes them. Lines may be kept and used again.
HeaderLines = NewType("HeaderLines", bytes)

# RFC 9110, section 5.6.2 (token) and section 5.5 (field-content, with obs-text): no CR, no LF, no NUL, no controls.
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
# They say where a message ends, or are for one connection (RFC 9110, section 7.6.1): the pool alone sends them.
_OURS = frozenset(
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


def header_lines(fields: Iterable[tuple[bytes, bytes]]) -> HeaderLines:
    """Write header fields as lines. Raises ValueError, without the value, for what does not belong into a head."""
    lines = []
    for name, value in fields:
        if not _NAME.fullmatch(name) or name.lower() in _OURS:
            raise ValueError(f"not a header field that may be sent: {name!r}")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of {name.decode()} has characters that no header value may have")
        lines.append(b"%b: %b\r\n" % (name, value.strip(b" \t")))
    return HeaderLines(b"".join(lines))
