"""Telling an end from a cut."""

import asyncio
import ssl


def is_cut(transport: asyncio.Transport) -> bool:
    """Tell, where a stream has come to its end, whether TLS was cut off without a closing alert (RFC 9112, 9.8).

    uvloop says nothing of an end then, but asyncio does.
    """
    secured = transport.get_extra_info("ssl_object")
    if secured is None:
        return False
    try:
        # Past a closing alert there is nothing; without one, there could be more.
        return bool(secured.read(1))
    except ssl.SSLError:
        return True
