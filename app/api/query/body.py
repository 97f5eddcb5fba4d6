"""Reads the body of a query: uncompressed, and limited in size, time and memory."""

import asyncio
from collections.abc import Callable, Mapping

from starlette.types import Message, Receive

from app.api.request_context import request_interrupted
from app.errors import InvalidRequest, RequestTimeout, RequestTooLarge

# Memory is reserved in steps of this many bytes.
_RESERVATION_STEP = 65_536


async def read_body(
    headers: Mapping[bytes, bytes],
    receive: Receive,
    reserve: Callable[[int], None],
    *,
    max_bytes: int,
    timeout_seconds: float,
) -> bytes:
    """Return the body, of at most `max_bytes`, which must arrive within `timeout_seconds`.

    `reserve` is called with the number of bytes in memory while more are expected.

    Raises InvalidRequest, RequestTooLarge or RequestTimeout, and what `reserve` raises.
    """
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise InvalidRequest("send the query uncompressed", code="content_encoding_unsupported")
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    try:
        async with asyncio.timeout(timeout_seconds) as timeout:
            message = await receive()
            # Most bodies arrive complete with the headers.
            if message["type"] == "http.request" and not message.get("more_body", False):
                body: bytes = message.get("body", b"")
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
                return body
            return await _read_parts(message, receive, reserve, max_bytes=max_bytes)
    except TimeoutError as error:
        if not timeout.expired():
            raise
        raise RequestTimeout(f"the body must arrive within {timeout_seconds:g} s") from error


async def _read_parts(message: Message, receive: Receive, reserve: Callable[[int], None], *, max_bytes: int) -> bytes:
    """Collect a body that arrives in parts, and reserve memory for it."""
    body, reserved = bytearray(), 0
    while True:
        if message["type"] == "http.disconnect":
            raise request_interrupted()
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        if len(body) - reserved >= _RESERVATION_STEP:
            reserve(len(body) - reserved)
            reserved = len(body)
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()


def _too_large(max_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(f"a query may have {max_bytes} bytes")
