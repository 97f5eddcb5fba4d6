"""Sends one delivery once: a POST within a time limit, whose failures are told apart."""

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
from app.webhooks.address_guard import AddressGuard, AddressNotAllowed

_MAX_CONNECT_TIMEOUT = 5.0  # seconds
_MAX_RETRY_AFTER = 3_600.0  # seconds


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    DELIVERED = "delivered"
    REJECTED = "refused"
    REDIRECTED = "redirected"
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    CERTIFICATE_NOT_TRUSTED = "not_trusted"
    ADDRESS_NOT_ALLOWED = "address_refused"
    CONNECTION_LOST = "broken_off"
    SECRET_UNREADABLE = "secret_unreadable"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Attempt:
    """A finished attempt. `retry_after` is how many seconds the receiver asked the broker to wait."""

    outcome: AttemptOutcome
    status: int | None = None
    retry_after: float = 0.0


@asynccontextmanager
async def webhook_client(guard: AddressGuard) -> AsyncIterator[httpx.AsyncClient]:
    """Open the HTTP client for webhooks: TLS is verified; no redirects, proxies or cookies; only allowed addresses.

    A proxy would resolve names itself and so bypass the guard.
    """
    connector = aiohttp.TCPConnector(
        force_close=True,
        use_dns_cache=False,
        resolver=guard.resolver,
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
            await guard.resolver.close()


async def post(
    client: httpx.AsyncClient, url: str, body: bytes, headers: Mapping[str, str], *, timeout_seconds: float
) -> Attempt:
    """Send `body`. Any 2xx status is a successful delivery; the body of the response is not read."""
    connect_timeout = min(timeout_seconds / 2, _MAX_CONNECT_TIMEOUT)
    timeout = httpx.Timeout(None, connect=connect_timeout, pool=connect_timeout)
    all_headers = {"content-type": "application/json", "user-agent": "stitch-token-broker", **headers}
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            client.stream("POST", url, content=body, headers=all_headers, timeout=timeout) as response,
        ):
            return _attempt_of(response)
    except TimeoutError:
        return Attempt(AttemptOutcome.TIMED_OUT)
    except UnicodeError:
        # Raised by the resolver for an invalid name: it has an empty label, or one of more than 63 characters.
        return Attempt(AttemptOutcome.UNREACHABLE)
    except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError) as error:
        return Attempt(_outcome_of(error))


def _attempt_of(response: httpx.Response) -> Attempt:
    if response.is_success:
        return Attempt(AttemptOutcome.DELIVERED, response.status_code)
    if response.is_redirect:
        return Attempt(AttemptOutcome.REDIRECTED, response.status_code)
    retry_after = _retry_after_seconds(response.headers.get("retry-after", ""))
    return Attempt(AttemptOutcome.REJECTED, response.status_code, retry_after)


def _retry_after_seconds(retry_after: str) -> float:
    """Parse `Retry-After` (RFC 9110 section 10.2.3) if it is a number of seconds; a date is ignored."""
    return min(float(retry_after), _MAX_RETRY_AFTER) if retry_after.isascii() and retry_after.isdigit() else 0.0


def _outcome_of(error: Exception) -> AttemptOutcome:
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    if any(isinstance(cause, AddressNotAllowed) for cause in causes):
        return AttemptOutcome.ADDRESS_NOT_ALLOWED
    if any(isinstance(cause, ssl.SSLError | ssl.CertificateError | aiohttp.ClientSSLError) for cause in causes):
        return AttemptOutcome.CERTIFICATE_NOT_TRUSTED
    # The transport reports a connection lost after sending as httpx.ConnectTimeout; only its cause tells them apart.
    if any(isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError) for cause in causes):
        return AttemptOutcome.UNREACHABLE
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return AttemptOutcome.UNREACHABLE
    return AttemptOutcome.CONNECTION_LOST
