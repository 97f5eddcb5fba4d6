"""Sends one bounded request to the provider; its errors say whether the provider may have processed the request.

A refresh token is used up by a request that reached the bank, whether or not the bank's response came back. So "never
sent" and "perhaps processed" are different errors. Each request opens its own connection: the bank might close a
kept-alive one just as it is used again, and then it is unknown whether the request arrived.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from opentelemetry.trace import SpanKind

from app.base.aiohttp_sessions import open_session, rejecting_cookie_jar, verifying_ssl_context
from app.base.proxies import check_proxies, proxy_for
from app.errors import BankError, BankOutcomeUnknown, BankResponseInvalid, BankUnreachable
from app.observability.logs import get_logger
from app.observability.metrics import BANK_REQUESTS, BANK_SECONDS
from app.observability.trace_context import current_trace_context
from app.observability.tracing import span
from app.oidc.response_body import decode_body, parse_json_object

_MAX_BODY_BYTES = 1_048_576
# Proxies and CDNs add fields. A response that is too large to read costs a refresh token.
_MAX_HEADER_LINE_BYTES, _MAX_HEADERS = 65_536, 500
_MAX_CONNECT_SECONDS = 5.0
logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BankResponse:
    """A complete response. Its `repr` does not show the body, which may contain tokens."""

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)

    def text(self) -> str:
        """Decode the body. Raises BankResponseInvalid if its content coding is not supported or it is too large."""
        return decode_body(self.body, self.headers.get("content-encoding", ""), max_bytes=_MAX_BODY_BYTES)


@asynccontextmanager
async def bank_client() -> AsyncIterator[httpx.AsyncClient]:
    """Open the client for `send`: it verifies TLS, follows no redirects and uses the proxies of the environment.

    Raises ConfigurationError if they cannot be used.
    """
    check_proxies()
    connector = aiohttp.TCPConnector(force_close=True, limit=200, ttl_dns_cache=10, ssl=verifying_ssl_context())
    async with (
        open_session(connector, max_header_line_bytes=_MAX_HEADER_LINE_BYTES, max_headers=_MAX_HEADERS) as session,
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
        with _measured(endpoint) as measurement:
            request = client.stream(
                method,
                url,
                content=None if form is None else urlencode(form).encode(),
                headers=_request_headers(headers or {}, has_form=form is not None),
                timeout=_timeouts(timeout_seconds),
            )
            response = await _receive(request, measurement, timeout_seconds)
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


async def _receive(
    request: AbstractAsyncContextManager[httpx.Response], measurement: _Measurement, timeout_seconds: float
) -> BankResponse:
    """Send the request and read the response. Translates the errors of the HTTP client."""
    response: httpx.Response | None = None
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_seconds), request as response:
            measurement.status = _INCOMPLETE
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MAX_BODY_BYTES:
                    raise BankResponseInvalid(f"the bank's answer is larger than {_MAX_BODY_BYTES} bytes")
    except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, UnicodeError) as error:
        if response is None or not _is_complete(partial := _bank_response(response, body)):
            translated = _translate(error, has_response=response is not None, timeout_seconds=timeout_seconds)
            if isinstance(translated, BankUnreachable):
                measurement.status = _UNREACHABLE
            raise translated from error
        logger.warning("response_framing_invalid", status=partial.status, error=type(error).__name__)
    return _bank_response(response, body)


def _bank_response(response: httpx.Response, body: bytearray) -> BankResponse:
    return BankResponse(response.status_code, response.headers, bytes(body))


def _is_complete(response: BankResponse) -> bool:
    """Return whether the body is a whole JSON object, so that nothing is lost if the framing breaks after it."""
    try:
        parse_json_object(response.text())
    except (ValueError, BankResponseInvalid):
        return False
    return True


def _translate(error: Exception, *, has_response: bool, timeout_seconds: float) -> BankError:
    # httpx-aiohttp raises httpx.ConnectTimeout for a connection lost after sending, too. Only the cause differs.
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) else error
    if isinstance(cause, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return BankUnreachable("no connection to the bank could be opened")
    # UnicodeError: the host name has an empty label or a label of more than 63 characters.
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL, UnicodeError)):
        return BankUnreachable("the bank's address cannot be used")
    if isinstance(error, TimeoutError):
        return BankOutcomeUnknown(f"the bank did not answer within {timeout_seconds:g} s")
    if has_response:
        return BankResponseInvalid("the bank's answer broke off")
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return BankOutcomeUnknown("the bank did not answer in time")
    return BankOutcomeUnknown("the connection to the bank was lost before it answered")
