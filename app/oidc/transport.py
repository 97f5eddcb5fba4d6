"""Sends one bounded request to the provider; its errors say whether the provider may have processed the request.

A refresh token is used up by a request that reached the bank, whether or not the bank's response came back. So "never
sent" and "perhaps processed" are different errors. Each request opens its own connection: the bank might close a
kept-alive one just as it is used again, and then it is unknown whether the request arrived.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from opentelemetry.trace import SpanKind

from app.base.aiohttp_sessions import open_session, rejecting_cookie_jar, verifying_ssl_context
from app.base.proxies import proxy_for
from app.errors import BankError, BankOutcomeUnknown, BankResponseInvalid, BankUnreachable
from app.observability.metrics import BANK_REQUESTS, BANK_SECONDS
from app.observability.trace_context import current_trace_context
from app.observability.tracing import span

_MAX_BODY_BYTES = 1_048_576
_MAX_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class BankResponse:
    """A complete response. Its `repr` does not show the body, which may contain tokens."""

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)


@asynccontextmanager
async def bank_client() -> AsyncIterator[httpx.AsyncClient]:
    """Open the client for `send`: it verifies TLS, follows no redirects and uses the proxies of the environment."""
    connector = aiohttp.TCPConnector(force_close=True, limit=200, ttl_dns_cache=10, ssl=verifying_ssl_context())
    async with (
        open_session(connector) as session,
        httpx.AsyncClient(
            transport=_ProxyingTransport(session), cookies=rejecting_cookie_jar(), follow_redirects=False
        ) as client,
    ):
        yield client


class _ProxyingTransport(httpx.AsyncBaseTransport):
    """Sends each request through the proxy for its URL, if there is one."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._transport_by_proxy: dict[str | None, AiohttpTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        proxy = proxy_for(str(request.url))
        if proxy not in self._transport_by_proxy:
            self._transport_by_proxy[proxy] = AiohttpTransport(
                client=self._session, proxy=httpx.Proxy(proxy) if proxy else None, verify=verifying_ssl_context()
            )
        return await self._transport_by_proxy[proxy].handle_async_request(request)


async def send(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    endpoint: str,
    timeout_seconds: float,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> BankResponse:
    """Send one request and read the response within `timeout_seconds`. `endpoint` is its name in metrics and traces.

    Raises BankUnreachable, BankOutcomeUnknown or BankResponseInvalid. Redirects are not followed but invalid.
    """
    with span(f"{method} {endpoint}", SpanKind.CLIENT, {"http.request.method": method}) as client_span:
        with _measured(endpoint) as measurement, _errors_of_the_broker(measurement, timeout_seconds):
            async with (
                asyncio.timeout(timeout_seconds),
                client.stream(
                    method,
                    url,
                    content=None if form is None else urlencode(form).encode(),
                    headers=_request_headers(headers or {}, has_form=form is not None),
                    timeout=_timeouts(timeout_seconds),
                ) as http_response,
            ):
                measurement.status = _INCOMPLETE
                response = BankResponse(
                    http_response.status_code, http_response.headers, await _read_body(http_response)
                )
            measurement.status = str(response.status)
        client_span.set_attributes({"http.response.status_code": response.status})
        if 300 <= response.status < 400:
            raise BankResponseInvalid(f"the bank answered with a redirect ({response.status}), which is not followed")
        if response.status >= 400:
            client_span.set_error(str(response.status))
    return response


def _request_headers(headers: Mapping[str, str], *, has_form: bool) -> dict[str, str]:
    # Not compressed: a small body that decompresses into a huge one is never wanted here.
    sent = {"accept": "application/json", "accept-encoding": "identity", **headers}
    if has_form:
        sent["content-type"] = "application/x-www-form-urlencoded"
    if trace := current_trace_context():
        sent |= {name.decode(): value.decode() for name, value in trace.headers()}
    return sent


def _timeouts(total_seconds: float) -> httpx.Timeout:
    """Return timeouts of which connecting ends well before the whole request, so that "never sent" is known as such."""
    connect_seconds = min(total_seconds / 2, _MAX_CONNECT_SECONDS)
    return httpx.Timeout(total_seconds, connect=connect_seconds, pool=connect_seconds)


async def _read_body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise BankResponseInvalid(f"the bank's answer is larger than {_MAX_BODY_BYTES} bytes")
    return bytes(body)


@dataclass(slots=True)
class _Measurement:
    """How far a request has come: the status in the metrics."""

    status: str = "no_answer"


_INCOMPLETE, _UNREACHABLE = "broken_off", "unreachable"


@contextmanager
def _measured(endpoint: str) -> Iterator[_Measurement]:
    measurement, started_at = _Measurement(), time.perf_counter()
    try:
        yield measurement
    finally:
        BANK_REQUESTS.labels(endpoint=endpoint, status=measurement.status).inc()
        BANK_SECONDS.labels(endpoint=endpoint).observe(time.perf_counter() - started_at)


@contextmanager
def _errors_of_the_broker(measurement: _Measurement, timeout_seconds: float) -> Iterator[None]:
    """Translate the errors of the HTTP client."""
    try:
        yield
    except TimeoutError as error:
        raise BankOutcomeUnknown(f"the bank did not answer within {timeout_seconds:g} s") from error
    except UnicodeError as error:
        # Raised for a host name with an empty label or a label of more than 63 characters.
        measurement.status = _UNREACHABLE
        raise BankUnreachable("the bank's address cannot be used") from error
    except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError) as error:
        translated = _translate(error, has_response=measurement.status == _INCOMPLETE)
        if isinstance(translated, BankUnreachable):
            measurement.status = _UNREACHABLE
        raise translated from error


def _translate(error: Exception, *, has_response: bool) -> BankError:
    # httpx-aiohttp raises httpx.ConnectTimeout for a connection lost after sending, too. Only the cause differs.
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) else error
    if isinstance(cause, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return BankUnreachable("no connection to the bank could be opened")
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return BankUnreachable("the bank's address cannot be used")
    if has_response:
        return BankResponseInvalid("the bank's answer broke off")
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return BankOutcomeUnknown("the bank did not answer in time")
    return BankOutcomeUnknown("the connection to the bank was lost before it answered")
