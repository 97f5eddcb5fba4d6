"""One attempt: what counts as a delivery, and how failures are told apart."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.webhooks.address_guard import AddressGuard
from app.webhooks.sending import Attempt, Result, post, webhook_client
from tests.http_client.certificates import make_certificate
from tests.support.hostile import DROP, HANG, HostileServer, Reply, json_reply

HEADERS = {"webhook-id": "evt_1"}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client that may reach this machine."""
    async with webhook_client(AddressGuard(("127.0.0.0/8",))) as client:
        yield client


async def send(client: httpx.AsyncClient, url: str, *, deadline: float = 10) -> Attempt:
    """Make one attempt."""
    return await post(client, url, b'{"type": "test"}', HEADERS, deadline=deadline)


@pytest.mark.parametrize("status", [200, 201, 202, 299])
async def test_any_2xx_is_a_delivery(client: httpx.AsyncClient, hostile: HostileServer, status: int) -> None:
    hostile.replies["/events"] = json_reply({}, status)
    assert await send(client, f"{hostile.url}/events") == Attempt(Result.DELIVERED, status)
    [(path, headers, body)] = hostile.received
    assert (path, body) == ("/events", b'{"type": "test"}')
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == "evt_1"


async def test_a_redirect_is_not_followed(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/events"] = json_reply({}, 307, location=f"{hostile.url}/elsewhere")
    assert await send(client, f"{hostile.url}/events") == Attempt(Result.REDIRECTED, 307)
    assert hostile.count("/elsewhere") == 0


async def test_a_refusal_may_ask_for_a_pause_of_at_most_an_hour(
    client: httpx.AsyncClient, hostile: HostileServer
) -> None:
    for header, seconds in {"120": 120, "999999": 3_600, "-5": 0, "soon": 0, "٣": 0}.items():
        hostile.replies["/events"] = json_reply({}, 503, retry_after=header)
        assert await send(client, f"{hostile.url}/events") == Attempt(Result.REFUSED, 503, seconds)


async def test_a_slow_receiver_is_not_waited_for(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/events"] = HANG
    assert (await send(client, f"{hostile.url}/events", deadline=0.2)).result is Result.TIMED_OUT
    # A drop of bytes now and then prolongs nothing.
    hostile.replies["/drops"] = Reply(b"HTTP/1.1 200 OK\r\nx: ", then_hang=True)
    assert (await send(client, f"{hostile.url}/drops", deadline=0.2)).result is Result.TIMED_OUT


async def test_a_huge_answer_is_not_read(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/events"] = Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000000\r\n\r\n" + b"x" * 9_000, True)
    assert (await send(client, f"{hostile.url}/events")).result is Result.DELIVERED


async def test_failures_are_told_apart(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/drop"] = DROP
    hostile.replies["/garbage"] = Reply(b"garbage\r\n\r\n")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    for url, result in {
        f"{hostile.url}/drop": Result.BROKEN_OFF,
        f"{hostile.url}/garbage": Result.BROKEN_OFF,
        f"http://127.0.0.1:{port}/": Result.UNREACHABLE,
        "https://no-such-host.invalid/": Result.UNREACHABLE,
        "https://a..example.com/": Result.UNREACHABLE,
        f"https://{'a' * 64}.example.com/": Result.UNREACHABLE,
    }.items():
        assert (await send(client, url)).result is result, url


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(client: httpx.AsyncClient, tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=make_certificate(tmp_path).server_context())
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert (await send(client, f"https://localhost:{port}/events")).result is Result.NOT_TRUSTED
    assert b"".join(seen) == b""


async def test_a_private_address_is_never_connected_to(hostile: HostileServer) -> None:
    port = hostile.url.rpartition(":")[2]
    async with webhook_client(AddressGuard(())) as client:
        assert (await send(client, f"{hostile.url}/events")).result is Result.ADDRESS_REFUSED
        for host in ("localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]"):
            attempt = await send(client, f"http://{host}:{port}/events")
            assert attempt.result in (Result.ADDRESS_REFUSED, Result.UNREACHABLE), host
    assert hostile.received == []


async def test_a_name_that_turns_private_after_its_registration_is_not_followed_there(
    hostile: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, genuine = AddressGuard(()), socket.getaddrinfo
    answers = iter(["93.184.215.14", "127.0.0.1"])

    def rebinding(host: Any, port: Any, *more: Any, **options: Any) -> Sequence[Any]:
        return genuine(next(answers) if host == "hooks.example" else host, port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    assert await guard.permits_host("hooks.example")
    async with webhook_client(guard) as client:
        attempt = await send(client, f"http://hooks.example:{hostile.url.rpartition(':')[2]}/events")
    assert attempt.result is Result.ADDRESS_REFUSED
    assert next(answers, None) is None
    assert hostile.received == []


async def test_what_a_receiver_sets_goes_to_no_other(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/events"] = json_reply({}, set_cookie="session=chosen-by-a-receiver; Path=/")
    for _ in range(2):
        await send(client, f"{hostile.url}/events")
    assert all("cookie" not in headers for _, headers, _ in hostile.received)


@pytest.mark.parametrize(("interim", "result"), [(3, Result.DELIVERED), (2_000, Result.BROKEN_OFF)])
async def test_interim_answers_are_borne_for_a_while(
    client: httpx.AsyncClient, hostile: HostileServer, interim: int, result: Result
) -> None:
    final = json_reply({})
    hostile.replies["/events"] = Reply(b"HTTP/1.1 100 Continue\r\n\r\n" * interim + final.data)
    assert (await send(client, f"{hostile.url}/events")).result is result
