"""One attempt at one delivery: a bounded POST, whose failures are told apart."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from app.base.aiohttp_sessions import open_session, rejecting_cookie_jar, verifying_ssl_context
from app.webhooks.address_guard import AddressGuard, AddressRefused

_LONGEST_OPENING = 5.0
_LONGEST_WISH = 3_600.0


class Result(StrEnum):
    """How an attempt ended."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    REDIRECTED = "redirected"
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    NOT_TRUSTED = "not_trusted"
    ADDRESS_REFUSED = "address_refused"
    BROKEN_OFF = "broken_off"
    SECRET_UNREADABLE = "secret_unreadable"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Attempt:
    """The end of an attempt. `retry_after` is the receiver's wish, in seconds."""

    result: Result
    status: int | None = None
    retry_after: float = 0.0


@asynccontextmanager
async def webhook_client(guard: AddressGuard) -> AsyncIterator[httpx.AsyncClient]:
    """Open the client for webhooks: TLS verified, no redirects, no proxy, no cookies, guarded addresses only.

    A proxy would resolve names by itself, past the guard.
    """
    connector = aiohttp.TCPConnector(
        force_close=True,
        use_dns_cache=False,
        resolver=guard.names,
        socket_factory=guard.open_socket,
        limit_per_host=20,
        ssl=verifying_ssl_context(),
    )
    async with (
        open_session(connector) as session,
        httpx.AsyncClient(
            transport=AiohttpTransport(client=session, verify=verifying_ssl_context()),
            cookies=rejecting_cookie_jar(),
            follow_redirects=False,
            trust_env=False,
        ) as client,
    ):
        try:
            yield client
        finally:
            await guard.names.close()


async def post(
    client: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str], *, deadline: float
) -> Attempt:
    """Send `body` within `deadline` seconds. Any 2xx is a delivery; the receiver's body is not read."""
    opening = min(deadline / 2, _LONGEST_OPENING)
    timeout = httpx.Timeout(None, connect=opening, pool=opening)
    sent = {"content-type": "application/json", "user-agent": "stitch-token-broker", **headers}
    try:
        async with (
            asyncio.timeout(deadline),
            client.stream("POST", url, content=body, headers=sent, timeout=timeout) as response,
        ):
            return _judged(response)
    except TimeoutError:
        return Attempt(Result.TIMED_OUT)
    except UnicodeError:
        # The resolver's word for a name that none can be: an empty label, or one of more than 63 characters.
        return Attempt(Result.UNREACHABLE)
    except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError) as error:
        return Attempt(_reason(error))


def _judged(response: httpx.Response) -> Attempt:
    if response.is_success:
        return Attempt(Result.DELIVERED, response.status_code)
    if response.is_redirect:
        return Attempt(Result.REDIRECTED, response.status_code)
    return Attempt(Result.REFUSED, response.status_code, _seconds(response.headers.get("retry-after", "")))


def _seconds(retry_after: str) -> float:
    """Read RFC 9110 section 10.2.3 in its form of seconds; a date is not heeded."""
    return min(float(retry_after), _LONGEST_WISH) if retry_after.isascii() and retry_after.isdigit() else 0.0


def _reason(error: Exception) -> Result:
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    if any(isinstance(one, AddressRefused) for one in causes):
        return Result.ADDRESS_REFUSED
    if any(isinstance(one, ssl.SSLError | ssl.CertificateError | aiohttp.ClientSSLError) for one in causes):
        return Result.NOT_TRUSTED
    # The transport reports a connection lost after sending as httpx.ConnectTimeout; only its cause tells them apart.
    if any(isinstance(one, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError) for one in causes):
        return Result.UNREACHABLE
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return Result.UNREACHABLE
    return Result.BROKEN_OFF
