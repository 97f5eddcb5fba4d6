"""The broker and a gateway in front agree on where each request ends, so that no request can be smuggled."""

import asyncio
import contextlib
import json

import pytest

from app.api.middleware import MAX_PARAMETERS
from app.api.uvicorn_protocol import MAX_PIPELINED_REQUESTS
from tests.support.broker import Api, Broker, Browser
from tests.support.eventually import eventually
from tests.support.logs import Logs

SMUGGLED = b"GET /healthz HTTP/1.1\r\nhost: b\r\n\r\n"
PATHS = ["/callback", "/v1/sessions", "/v1/connections/con_1/graphql", "/healthz"]
PROTOCOLS = ["websocket", "h2c", "foo", "TLS/1.2, HTTP/1.1"]


async def exchange(broker: Broker, *pieces: bytes, responses: int = 1) -> bytes:
    """Send pieces at intervals. Returns what arrives until there are `responses` responses, and shortly after."""
    reader, writer = await asyncio.open_connection(*broker.host)
    received = bytearray()

    async def read() -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65_536):
                received.extend(piece)

    reading = asyncio.create_task(read())
    with contextlib.suppress(OSError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.1)

    async def has_responses() -> bool:
        return reading.done() or received.count(b"HTTP/1.1 ") >= responses

    await eventually(has_responses)
    await asyncio.wait({reading}, timeout=0.2)
    writer.close()
    await reading
    return bytes(received)


def head(path: str, protocol: str, *lines: str, method: str = "POST") -> bytes:
    fields = (f"{method} {path} HTTP/1.1", "host: b", "connection: Upgrade", f"upgrade: {protocol}", *lines)
    return "\r\n".join((*fields, "", "")).encode()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("together", [True, False])
async def test_a_body_is_not_taken_for_a_request_whatever_protocol_is_offered(
    broker: Broker, path: str, protocol: str, together: bool
) -> None:
    request = head(path, protocol, f"content-length: {len(SMUGGLED)}")
    pieces = [request + SMUGGLED + SMUGGLED] if together else [request, SMUGGLED, SMUGGLED]
    response = await exchange(broker, *pieces)
    assert response.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in response.lower()


async def test_a_chunked_body_is_not_taken_for_a_request(broker: Broker) -> None:
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    for pieces in ([chunked + SMUGGLED], [chunked, SMUGGLED]):
        request = head("/callback", "h2c", "transfer-encoding: chunked")
        response = await exchange(broker, request + pieces[0], *pieces[1:])
        assert response.count(b"HTTP/1.1 ") == 1


async def test_data_after_a_connect_request_is_not_taken_for_a_request(broker: Broker) -> None:
    response = await exchange(broker, b"CONNECT b:443 HTTP/1.1\r\nhost: b\r\n\r\n" + SMUGGLED, SMUGGLED)
    assert b'{"status":"ok"}' not in response


@pytest.mark.parametrize("is_chunked", [True, False])
async def test_a_client_that_offers_http_2_is_served(broker: Broker, api: Api, is_chunked: bool) -> None:
    """Java's HTTP client does by default over plain HTTP."""
    body = json.dumps({"user_id": "user-1"}).encode()
    framing = "transfer-encoding: chunked" if is_chunked else f"content-length: {len(body)}"
    lines = (f"authorization: Bearer {api.api_key}", "content-type: application/json", "http2-settings: AAEAAEAAAAIA")
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if is_chunked else body
    request = head("/v1/sessions", "h2c", framing, *lines)
    for pieces in ([request + sent], [request, sent[:5], sent[5:]]):
        response = await exchange(broker, *pieces)
        assert response.startswith(b"HTTP/1.1 201 ")


async def test_an_offer_without_a_body_does_not_end_the_connection(broker: Broker) -> None:
    request = head("/healthz", "h2c", method="GET")
    response = await exchange(broker, request + request + SMUGGLED, responses=3)
    assert response.count(b"HTTP/1.1 200 ") == 3


async def test_the_number_of_pipelined_requests_is_limited(broker: Broker) -> None:
    response = await exchange(broker, SMUGGLED * MAX_PIPELINED_REQUESTS, responses=MAX_PIPELINED_REQUESTS)
    assert response.count(b"HTTP/1.1 200 ") == MAX_PIPELINED_REQUESTS
    assert (await exchange(broker, SMUGGLED * 5_000)).count(b"HTTP/1.1 ") <= MAX_PIPELINED_REQUESTS


async def test_a_pipelined_request_does_not_inherit_the_trace_of_the_one_before(
    broker: Broker, api: Api, logs: Logs
) -> None:
    key = f"authorization: Bearer {api.api_key}"
    traced = f"GET /v1/sessions HTTP/1.1\r\nhost: b\r\n{key}\r\ntraceparent: 00-{'ab' * 16}-{'cd' * 8}-01\r\n\r\n"
    plain = f"GET /v1/sessions HTTP/1.1\r\nhost: b\r\n{key}\r\n\r\n"
    assert (await exchange(broker, (traced + plain).encode(), responses=2)).count(b"HTTP/1.1 200 ") == 2
    assert [line.get("trace_id") for line in await logs.access_lines(2)] == ["ab" * 16, None]


async def test_bodies_of_requests_that_offer_another_protocol_are_not_joined(broker: Broker, api: Api) -> None:
    key = f"authorization: Bearer {api.api_key}"
    first = head("/v1/sessions", "h2c", "content-type: application/json", "content-length: 12", key) + b'{"user_id": '
    others = head("/v1/sessions", "h2c", "content-length: 10") + b'"user-1"} '
    response = await exchange(broker, first + others + others)
    assert response.startswith(b"HTTP/1.1 400 ")
    assert response.count(b"HTTP/1.1 ") == 1


async def test_an_invalid_request_gets_no_response_that_belongs_to_the_request_before(broker: Broker) -> None:
    response = await exchange(broker, b"GET /callback?state=x HTTP/1.1\r\nhost: b\r\n\r\n" + b"\x00nonsense\r\n\r\n")
    assert b"Invalid HTTP request received." not in response


@pytest.mark.parametrize("path", ["/callback", "/connect/x", "/v1/sessions", "/healthz"])
async def test_a_url_with_too_many_parameters_is_rejected_unread(browser: Browser, path: str) -> None:
    response = await browser.get(f"{path}?{'a&' * MAX_PARAMETERS}a")
    assert (response.status_code, response.json()["code"]) == (414, "too_many_parameters")
