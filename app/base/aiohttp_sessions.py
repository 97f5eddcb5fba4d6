"""What the HTTP clients for OpenID Connect and for webhooks share: TLS, no cookies, few interim responses.

`BoundedResponse` relies on internals of aiohttp, so pyproject.toml allows a single minor version of it. After an
upgrade, tests/base/test_aiohttp_internals.py says what has changed and which behaviour depends on it.
"""

import ssl
from collections.abc import AsyncIterator
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

# RFC 9110, section 15.2, sets no limit. aiohttp reads them in a loop that can block the event loop.
MAX_INTERIM_RESPONSES = 7


@cache
def verifying_ssl_context() -> ssl.SSLContext:
    """Return the shared context that verifies certificates and host names.

    Loading the trusted certificates takes tens of milliseconds. `SSL_CERT_FILE` is read at the first call.
    """
    return ssl.create_default_context()


def open_session(
    connector: aiohttp.BaseConnector, *, max_header_line_bytes: int = 8_190, max_headers: int = 128
) -> aiohttp.ClientSession:
    """Open a session, which the caller must close. The limits apply to heads of responses and default to aiohttp's."""
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=BoundedResponse,
        max_line_size=max_header_line_bytes,
        max_field_size=max_header_line_bytes,
        max_headers=max_headers,
    )


def rejecting_cookie_jar() -> CookieJar:
    """Return a cookie jar for httpx that stays empty: cookies of one request must never be sent with another."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=()))


class BoundedResponse(aiohttp.ClientResponse):
    """A response that fails if too many interim responses precede it, and whose body loses no byte to an error."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read the head. Raises ClientPayloadError after too many interim responses."""
        if (protocol := connection.protocol) is not None:
            _limit_heads(protocol)
        await super().start(connection)
        if type(self.content) is aiohttp.StreamReader:
            self.content = _BufferedBytesFirst(self.content)  # type: ignore[assignment]
        return self


def _limit_heads(protocol: ResponseHandler) -> None:
    """Limit how many heads `start` can read: it calls `protocol.read` once for each."""
    read, heads = protocol.read, 0

    async def read_limited() -> object:
        nonlocal heads
        heads += 1
        if heads > MAX_INTERIM_RESPONSES + 1:
            raise aiohttp.ClientPayloadError("too many interim responses")
        return await read()

    protocol.read = read_limited  # type: ignore[assignment,method-assign]


class _BufferedBytesFirst:
    """A body that yields the bytes that arrived before an error, which aiohttp would drop, and then raises it."""

    def __init__(self, reader: aiohttp.StreamReader) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> object:
        return getattr(self._reader, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._reader.iter_chunked(size):
                yield chunk
        except (aiohttp.ClientError, OSError):
            # Reading it with a method would raise the error again.
            if buffered := b"".join(self._reader._buffer)[self._reader._buffer_offset :]:
                yield buffered
            raise
