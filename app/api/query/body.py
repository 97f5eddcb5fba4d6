"""The body of a query: uncompressed, bounded in size, time and in what is kept of it at once."""

import asyncio
from collections.abc import Callable, Mapping

from starlette.types import Message, Receive

from app.errors import InvalidRequest, RequestTimeout, RequestTooLarge

# From the request's head, in seconds.
_LONGEST_BODY = 30.0
_WORTH_COUNTING = 65_536


async def read_body(
    headers: Mapping[bytes, bytes], receive: Receive, limit: int, keep_more: Callable[[int], None]
) -> bytes:
    """Return the body, of at most `limit` bytes. `keep_more` is told of what is kept while more is to come.

    Raises InvalidRequest, RequestTooLarge or RequestTimeout, and what `keep_more` raises.
    """
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise InvalidRequest("send the query uncompressed", code="content_encoding_unsupported")
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(_LONGEST_BODY) as patience:
            message = await receive()
            # Most have come whole with their head.
            if message["type"] == "http.request" and not message.get("more_body", False):
                body: bytes = message.get("body", b"")
                if len(body) > limit:
                    raise _too_large(limit)
                return body
            return await _read_on(message, receive, limit, keep_more)
    except TimeoutError as error:
        if not patience.expired():
            raise
        raise RequestTimeout(f"a query has {_LONGEST_BODY:g} s to come") from error


async def _read_on(message: Message, receive: Receive, limit: int, keep_more: Callable[[int], None]) -> bytes:
    """Gather a body that comes in pieces. What is kept meanwhile is counted, once it is worth it."""
    body, counted = bytearray(), 0
    while True:
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the request broke off")
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if len(body) - counted >= _WORTH_COUNTING:
            keep_more(len(body) - counted)
            counted = len(body)
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"a query may have {limit} bytes")
