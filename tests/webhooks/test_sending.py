"""A single attempt: what counts as delivered, and how failures are told apart."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.webhooks.address_guard import AddressGuard
from app.webhooks.sending import Attempt, AttemptOutcome, post, webhook_client
from tests.http_client.certificates import make_certificate
from tests.support.hostile import DROP, HANG, HostileServer, Reply, json_reply

HEADERS = {"webhook-id": "evt_1"}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client that may connect to this machine."""
    async with webhook_client(AddressGuard(("127.0.0.0/8",))) as client:
        yield client


async def send(client: httpx.AsyncClient, url: str, *, timeout_seconds: float = 10) -> Attempt:
    """Make one attempt."""
    return await post(client, url, b'{"type": "test"}', HEADERS, timeout_seconds=timeout_seconds)


@pytest.mark.parametrize("status", [200, 201, 202, 299])
async def test_any_2xx_is_a_successful_delivery(client: httpx.AsyncClient, hostile: HostileServer, status: int) -> None:
    hostile.replies["/events"] = json_reply({}, status)
    assert await send(client, f"{hostile.url}/events") == Attempt(AttemptOutcome.DELIVERED, status)
    [(path, headers, body)] = hostile.received
    assert (path, body) == ("/events", b'{"type": "test"}')
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == "evt_1"


async def test_a_redirect_is_not_followed(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/events"] = json_reply({}, 307, location=f"{hostile.url}/elsewhere")
    assert await send(client, f"{hostile.url}/events") == Attempt(AttemptOutcome.REDIRECTED, 307)
    assert hostile.count("/elsewhere") == 0


async def test_a_receiver_can_request_a_pause_of_at_most_an_hour(
    client: httpx.AsyncClient, hostile: HostileServer
) -> None:
    for header, seconds in {"120": 120, "999999": 3_600, "-5": 0, "soon": 0, "٣": 0}.items():
        hostile.replies["/events"] = json_reply({}, 503, retry_after=header)
        assert await send(client, f"{hostile.url}/events") == Attempt(AttemptOutcome.REJECTED, 503, seconds)


async def test_a_slow_receiver_times_out(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/events"] = HANG
    assert (await send(client, f"{hostile.url}/events", timeout_seconds=0.2)).outcome is AttemptOutcome.TIMED_OUT
    # Some bytes of a response do not extend the timeout.
    hostile.replies["/partial"] = Reply(b"HTTP/1.1 200 OK\r\nx: ", then_hang=True)
    assert (await send(client, f"{hostile.url}/partial", timeout_seconds=0.2)).outcome is AttemptOutcome.TIMED_OUT


async def test_a_huge_response_is_not_read(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/events"] = Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000000\r\n\r\n" + b"x" * 9_000, True)
    assert (await send(client, f"{hostile.url}/events")).outcome is AttemptOutcome.DELIVERED


async def test_failures_are_told_apart(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/drop"] = DROP
    hostile.replies["/garbage"] = Reply(b"garbage\r\n\r\n")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    for url, outcome in {
        f"{hostile.url}/drop": AttemptOutcome.CONNECTION_LOST,
        f"{hostile.url}/garbage": AttemptOutcome.CONNECTION_LOST,
        f"http://127.0.0.1:{port}/": AttemptOutcome.UNREACHABLE,
        "https://no-such-host.invalid/": AttemptOutcome.UNREACHABLE,
        "https://a..example.com/": AttemptOutcome.UNREACHABLE,
        f"https://{'a' * 64}.example.com/": AttemptOutcome.UNREACHABLE,
    }.items():
        assert (await send(client, url)).outcome is outcome, url


async def test_a_certificate_of_an_unknown_authority_is_not_trusted(client: httpx.AsyncClient, tmp_path: Path) -> None:
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=make_certificate(tmp_path).server_context())
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert (
            await send(client, f"https://localhost:{port}/events")
        ).outcome is AttemptOutcome.CERTIFICATE_NOT_TRUSTED
    assert b"".join(received) == b""


async def test_no_connection_to_a_private_address_is_opened(hostile: HostileServer) -> None:
    port = hostile.url.rpartition(":")[2]
    async with webhook_client(AddressGuard(())) as client:
        assert (await send(client, f"{hostile.url}/events")).outcome is AttemptOutcome.ADDRESS_NOT_ALLOWED
        for host in ("localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]"):
            attempt = await send(client, f"http://{host}:{port}/events")
            assert attempt.outcome in (AttemptOutcome.ADDRESS_NOT_ALLOWED, AttemptOutcome.UNREACHABLE), host
    assert hostile.received == []


async def test_a_name_that_later_resolves_to_a_private_address_is_not_connected_to(
    hostile: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, original = AddressGuard(()), socket.getaddrinfo
    answers = iter(["93.184.215.14", "127.0.0.1"])

    def rebinding(host: Any, port: Any, *more: Any, **options: Any) -> Sequence[Any]:
        return original(next(answers) if host == "hooks.example" else host, port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    assert await guard.allows_host("hooks.example")
    async with webhook_client(guard) as client:
        attempt = await send(client, f"http://hooks.example:{hostile.url.rpartition(':')[2]}/events")
    assert attempt.outcome is AttemptOutcome.ADDRESS_NOT_ALLOWED
    assert next(answers, None) is None
    assert hostile.received == []


async def test_cookies_of_a_receiver_are_not_sent(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/events"] = json_reply({}, set_cookie="session=from-a-receiver; Path=/")
    for _ in range(2):
        await send(client, f"{hostile.url}/events")
    assert all("cookie" not in headers for _, headers, _ in hostile.received)


@pytest.mark.parametrize(
    ("interim", "outcome"), [(3, AttemptOutcome.DELIVERED), (2_000, AttemptOutcome.CONNECTION_LOST)]
)
async def test_a_limited_number_of_interim_responses_is_accepted(
    client: httpx.AsyncClient, hostile: HostileServer, interim: int, outcome: AttemptOutcome
) -> None:
    final = json_reply({})
    hostile.replies["/events"] = Reply(b"HTTP/1.1 100 Continue\r\n\r\n" * interim + final.data)
    assert (await send(client, f"{hostile.url}/events")).outcome is outcome
