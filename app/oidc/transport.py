"""One bounded request to the bank's OpenID Connect endpoints, whose failures say what the bank may have done.

A refresh token is used up by a request that reached the bank, answered or not, so "never sent" and "perhaps
processed" are different errors. Each request has a connection of its own: one kept alive may be closed by the bank
just as it is used again, and then nobody knows whether the request arrived.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from opentelemetry.trace import SpanKind

from app.base.aiohttp_sessions import no_cookies, open_session
from app.base.proxies import proxy_for
from app.base.tls import verified
from app.errors import BankError, BankOutcomeUnknown, BankResponseInvalid, BankUnreachable
from app.observability.metrics import BANK_REQUESTS, BANK_SECONDS
from app.observability.trace_context import current_trace_context
from app.observability.tracing import span

_MAX_ANSWER_BYTES = 1_048_576
_LONGEST_OPENING = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Its body may hold tokens and does not print."""

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)


@asynccontextmanager
async def bank_client() -> AsyncIterator[httpx.AsyncClient]:
    """Open the client for OpenID Connect endpoints: TLS verified, no redirects, proxies as the environment says."""
    connector = aiohttp.TCPConnector(force_close=True, limit=200, ttl_dns_cache=10, ssl=verified())
    async with (
        open_session(connector) as session,
        httpx.AsyncClient(
            transport=_ProxyingTransport(session), cookies=no_cookies(), follow_redirects=False
        ) as client,
    ):
        yield client


class _ProxyingTransport(httpx.AsyncBaseTransport):
    """Takes each request by way of the proxy that its address needs."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._by_proxy: dict[str | None, AiohttpTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        proxy = proxy_for(str(request.url))
        if proxy not in self._by_proxy:
            chosen = httpx.Proxy(proxy) if proxy else None
            self._by_proxy[proxy] = AiohttpTransport(client=self._session, proxy=chosen, verify=verified())
        return await self._by_proxy[proxy].handle_async_request(request)


async def send(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    endpoint: str,
    deadline: float,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request and read the answer within `deadline` seconds. `endpoint` names it in metrics and traces.

    Raises BankUnreachable, BankOutcomeUnknown or BankResponseInvalid. Redirects are not followed, and are bad answers.
    """
    with span(f"{method} {endpoint}", SpanKind.CLIENT, {"http.request.method": method}) as sending:
        answer = await _send(
            client, method, url, endpoint=endpoint, deadline=deadline, form=form, headers=headers or {}
        )
        sending.set({"http.response.status_code": answer.status})
        if 300 <= answer.status < 400:
            raise BankResponseInvalid(f"the bank answered with a redirect ({answer.status}), which is not followed")
        if answer.status >= 400:
            sending.fail(str(answer.status))
    return answer


async def _send(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    endpoint: str,
    deadline: float,
    form: Mapping[str, str] | None,
    headers: Mapping[str, str],
) -> Answer:
    content = None if form is None else urlencode(form).encode()
    # Not compressed: a small answer that unfolds into a huge one is never wanted here.
    sent = {"accept": "application/json", "accept-encoding": "identity", **headers}
    if content is not None:
        sent["content-type"] = "application/x-www-form-urlencoded"
    if trace := current_trace_context():
        sent |= {name.decode(): value.decode() for name, value in trace.fields()}
    # Opening the connection ends well before the deadline, so that "never sent" is known for what it is.
    opening = min(deadline / 2, _LONGEST_OPENING)
    timeout = httpx.Timeout(deadline, connect=opening, pool=opening)
    answered = False
    became, began = "no_answer", time.perf_counter()
    try:
        async with (
            asyncio.timeout(deadline),
            client.stream(method, url, content=content, headers=sent, timeout=timeout) as response,
        ):
            answered, became = True, "broken_off"
            answer = Answer(response.status_code, response.headers, await _read(response))
        became = str(answer.status)
    except TimeoutError as error:
        raise BankOutcomeUnknown(f"the bank did not answer within {deadline:g} s") from error
    except UnicodeError as error:
        # The word for a host name that none can be: an empty label, or one of more than 63 characters.
        became = "unreachable"
        raise BankUnreachable("the bank's address cannot be used") from error
    except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError) as error:
        translated = _translate(error, answered=answered)
        if isinstance(translated, BankUnreachable):
            became = "unreachable"
        raise translated from error
    finally:
        BANK_REQUESTS.labels(endpoint=endpoint, status=became).inc()
        BANK_SECONDS.labels(endpoint=endpoint).observe(time.perf_counter() - began)
    return answer


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > _MAX_ANSWER_BYTES:
            raise BankResponseInvalid(f"the bank's answer is larger than {_MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def _translate(error: Exception, *, answered: bool) -> BankError:
    # The transport reports a connection lost after sending as httpx.ConnectTimeout; only its cause tells them apart.
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) else error
    if isinstance(cause, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return BankUnreachable("no connection to the bank could be opened")
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return BankUnreachable("the bank's address cannot be used")
    if answered:
        return BankResponseInvalid("the bank's answer broke off")
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return BankOutcomeUnknown("the bank did not answer in time")
    return BankOutcomeUnknown("the connection to the bank was lost before it answered")
