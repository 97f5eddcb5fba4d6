"""What the clients for the bank and for webhooks have in common: no cookies, and few interim answers."""

from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

# RFC 9110 section 15.2 sets no bound. The library reads on at once, in which time nobody else is served.
MOST_INTERIM = 8


class FinalResponse(aiohttp.ClientResponse):
    """A response that comes after a few interim ones at most."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read up to the final head. Raises ClientPayloadError where it does not come."""
        if (protocol := connection.protocol) is not None:
            _bound(protocol)
        return await super().start(connection)


def _bound(protocol: ResponseHandler) -> None:
    read, heads = protocol.read, 0

    async def read_bounded() -> object:
        nonlocal heads
        heads += 1
        if heads > MOST_INTERIM:
            raise aiohttp.ClientPayloadError("there is no end of interim answers")
        return await read()

    protocol.read = read_bounded  # type: ignore[assignment,method-assign]


def open_session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """Open a session, which must be closed."""
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), response_class=FinalResponse)


def no_cookies() -> CookieJar:
    """Return a jar for httpx that takes none: one request's must never go along with another's."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=()))
