"""What a connection carries is requests, each of which a gateway in front has seen as such."""

import asyncio
import contextlib
import json

import pytest

from app.api.middleware import MOST_PARAMETERS
from app.api.uvicorn_protocol import MAX_PIPELINED_REQUESTS
from tests.support.broker import Api, Broker, Browser
from tests.support.eventually import eventually
from tests.support.logs import Logs

SMUGGLED = b"GET /healthz HTTP/1.1\r\nhost: b\r\n\r\n"
PATHS = ["/callback", "/v1/sessions", "/v1/connections/con_1/graphql", "/healthz"]
OFFERS = ["websocket", "h2c", "foo", "TLS/1.2, HTTP/1.1"]


async def exchange(broker: Broker, *pieces: bytes, answers: int = 1) -> bytes:
    """Send pieces some time apart, and return all that is answered: so much, and what comes soon after it."""
    reader, writer = await asyncio.open_connection(*broker.host)
    answer = bytearray()

    async def read() -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65_536):
                answer.extend(piece)

    reading = asyncio.create_task(read())
    with contextlib.suppress(OSError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.1)

    async def is_there() -> bool:
        return reading.done() or answer.count(b"HTTP/1.1 ") >= answers

    await eventually(is_there)
    await asyncio.wait({reading}, timeout=0.2)
    writer.close()
    await reading
    return bytes(answer)


def head(path: str, offer: str, *lines: str, method: str = "POST") -> bytes:
    fields = (f"{method} {path} HTTP/1.1", "host: b", "connection: Upgrade", f"upgrade: {offer}", *lines)
    return "\r\n".join((*fields, "", "")).encode()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("together", [True, False])
async def test_a_body_is_no_request_whatever_protocol_is_offered(
    broker: Broker, path: str, offer: str, together: bool
) -> None:
    asked = head(path, offer, f"content-length: {len(SMUGGLED)}")
    pieces = [asked + SMUGGLED + SMUGGLED] if together else [asked, SMUGGLED, SMUGGLED]
    answer = await exchange(broker, *pieces)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()


async def test_nor_is_a_chunked_one(broker: Broker) -> None:
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    for pieces in ([chunked + SMUGGLED], [chunked, SMUGGLED]):
        asked = head("/callback", "h2c", "transfer-encoding: chunked")
        answer = await exchange(broker, asked + pieces[0], *pieces[1:])
        assert answer.count(b"HTTP/1.1 ") == 1


async def test_nor_what_follows_a_connect(broker: Broker) -> None:
    answer = await exchange(broker, b"CONNECT b:443 HTTP/1.1\r\nhost: b\r\n\r\n" + SMUGGLED, SMUGGLED)
    assert b'{"status":"ok"}' not in answer


@pytest.mark.parametrize("is_chunked", [True, False])
async def test_a_client_that_offers_http_2_is_served(broker: Broker, api: Api, is_chunked: bool) -> None:
    """As Java's does by default, over plain HTTP."""
    body = json.dumps({"user_id": "user-1"}).encode()
    framing = "transfer-encoding: chunked" if is_chunked else f"content-length: {len(body)}"
    lines = (f"authorization: Bearer {api.api_key}", "content-type: application/json", "http2-settings: AAEAAEAAAAIA")
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if is_chunked else body
    asked = head("/v1/sessions", "h2c", framing, *lines)
    for pieces in ([asked + sent], [asked, sent[:5], sent[5:]]):
        answer = await exchange(broker, *pieces)
        assert answer.startswith(b"HTTP/1.1 201 ")


async def test_an_offer_without_a_body_ends_nothing(broker: Broker) -> None:
    asked = head("/healthz", "h2c", method="GET")
    answer = await exchange(broker, asked + asked + SMUGGLED, answers=3)
    assert answer.count(b"HTTP/1.1 200 ") == 3


async def test_requests_may_run_ahead_of_their_answers_only_so_far(broker: Broker) -> None:
    answer = await exchange(broker, SMUGGLED * MAX_PIPELINED_REQUESTS, answers=MAX_PIPELINED_REQUESTS)
    assert answer.count(b"HTTP/1.1 200 ") == MAX_PIPELINED_REQUESTS
    assert (await exchange(broker, SMUGGLED * 5_000)).count(b"HTTP/1.1 ") <= MAX_PIPELINED_REQUESTS


async def test_a_request_that_comes_ahead_of_an_answer_inherits_no_trace(broker: Broker, api: Api, logs: Logs) -> None:
    key = f"authorization: Bearer {api.api_key}"
    traced = f"GET /v1/sessions HTTP/1.1\r\nhost: b\r\n{key}\r\ntraceparent: 00-{'ab' * 16}-{'cd' * 8}-01\r\n\r\n"
    plain = f"GET /v1/sessions HTTP/1.1\r\nhost: b\r\n{key}\r\n\r\n"
    assert (await exchange(broker, (traced + plain).encode(), answers=2)).count(b"HTTP/1.1 200 ") == 2
    assert [line.get("trace_id") for line in await logs.access_lines(2)] == ["ab" * 16, None]


async def test_requests_are_not_joined_however_many_offer_another_protocol(broker: Broker, api: Api) -> None:
    key = f"authorization: Bearer {api.api_key}"
    first = head("/v1/sessions", "h2c", "content-type: application/json", "content-length: 12", key) + b'{"user_id": '
    others = head("/v1/sessions", "h2c", "content-length: 10") + b'"user-1"} '
    answer = await exchange(broker, first + others + others)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_what_is_no_request_is_not_answered_in_the_place_of_one_that_is(broker: Broker) -> None:
    answer = await exchange(broker, b"GET /callback?state=x HTTP/1.1\r\nhost: b\r\n\r\n" + b"\x00nonsense\r\n\r\n")
    assert b"Invalid HTTP request received." not in answer


@pytest.mark.parametrize("path", ["/callback", "/connect/x", "/v1/sessions", "/healthz"])
async def test_an_address_with_ever_so_many_parameters_is_refused_unread(browser: Browser, path: str) -> None:
    refused = await browser.get(f"{path}?{'a&' * MOST_PARAMETERS}a")
    assert (refused.status_code, refused.json()["code"]) == (414, "too_many_parameters")
