"""Reads the body of a query: uncompressed, and limited in size, time and memory."""

import asyncio
from collections.abc import Callable, Mapping

from starlette.types import Message, Receive

from app.api.request_context import request_interrupted
from app.errors import InvalidRequest, RequestTimeout, RequestTooLarge

_BODY_TIMEOUT = 30.0  # seconds from the end of the headers
# Memory is reserved in steps of this many bytes.
_RESERVATION_STEP = 65_536


async def read_body(
    headers: Mapping[bytes, bytes], receive: Receive, limit: int, reserve: Callable[[int], None]
) -> bytes:
    """Return the body, of at most `limit` bytes. `reserve` is called with the bytes in memory while more are expected.

    Raises InvalidRequest, RequestTooLarge or RequestTimeout, and what `reserve` raises.
    """
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise InvalidRequest("send the query uncompressed", code="content_encoding_unsupported")
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(_BODY_TIMEOUT) as timeout:
            message = await receive()
            # Most bodies arrive complete with the headers.
            if message["type"] == "http.request" and not message.get("more_body", False):
                body: bytes = message.get("body", b"")
                if len(body) > limit:
                    raise _too_large(limit)
                return body
            return await _read_parts(message, receive, limit, reserve)
    except TimeoutError as error:
        if not timeout.expired():
            raise
        raise RequestTimeout(f"the body must arrive within {_BODY_TIMEOUT:g} s") from error


async def _read_parts(message: Message, receive: Receive, limit: int, reserve: Callable[[int], None]) -> bytes:
    """Collect a body that arrives in parts, and reserve memory for it."""
    body, reserved = bytearray(), 0
    while True:
        if message["type"] == "http.disconnect":
            raise request_interrupted()
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if len(body) - reserved >= _RESERVATION_STEP:
            reserve(len(body) - reserved)
            reserved = len(body)
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"a query may have {limit} bytes")
