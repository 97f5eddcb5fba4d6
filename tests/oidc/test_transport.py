import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from joserfc.jwk import RSAKey

from app.errors import BankOutcomeUnknown, BankResponseInvalid, BankUnreachable
from app.observability.trace_context import TraceContext, set_trace_context
from app.oidc.transport import Answer, send
from tests.support.eventually import eventually
from tests.support.hostile import DROP, HANG, HostileServer, Reply, json_reply

# Long enough never to be what decides, where the server answers at all.
PATIENT = 20.0


async def ask(client: httpx.AsyncClient, url: str, *, deadline: float = PATIENT) -> Answer:
    return await send(client, "POST", url, endpoint="token", deadline=deadline, form={"token": "a+/= é"})


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port where nobody listens, and nobody else will."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port whose connections are never accepted, as behind a firewall that drops: its backlog is full."""
    with socket.socket() as listening, contextlib.ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


@pytest.fixture
def untrusted(client_key: RSAKey, tmp_path: Path) -> ssl.SSLContext:
    """What a server needs whose certificate is its own word."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    private_key = client_key.private_key
    assert isinstance(private_key, RSAPrivateKey)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(private_key, SHA256())
    )
    (tmp_path / "certificate").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "key").write_bytes(client_key.as_pem(private=True))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    return context


async def test_an_answer_comes_whole(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/token"] = json_reply({"a": 1}, 400, x_header="y")
    answer = await ask(client, f"{hostile.url}/token")
    assert (answer.status, answer.body, answer.headers["x-header"]) == (400, b'{"a": 1}', "y")
    assert '{"a": 1}' not in repr(answer)


async def test_the_form_is_encoded_and_no_compression_is_asked_for(
    client: httpx.AsyncClient, hostile: HostileServer
) -> None:
    await ask(client, f"{hostile.url}/token")
    ((_, headers, body),) = hostile.received
    assert body == b"token=a%2B%2F%3D+%C3%A9"
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert headers["accept"] == "application/json"
    assert headers["accept-encoding"] == "identity"


async def test_the_bank_is_told_of_the_trace(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/x"] = json_reply({})
    trace = TraceContext(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"a=b")

    async def serve_request() -> None:
        set_trace_context(trace)
        await ask(client, f"{hostile.url}/x")

    await asyncio.create_task(serve_request())
    await ask(client, f"{hostile.url}/x")
    [(_, traced, _), (_, untraced, _)] = hostile.received
    assert (traced["traceparent"], traced["tracestate"]) == (trace.traceparent.decode(), "a=b")
    assert not {"traceparent", "tracestate"} & untraced.keys()


async def test_every_request_has_a_connection_of_its_own(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    # On the same connection, the second request would stay unread.
    hostile.replies["/token"] = Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", then_hang=True)
    for _ in range(2):
        await ask(client, f"{hostile.url}/token")
    assert hostile.count("/token") == 2


async def test_cookies_are_not_sent_back(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/token"] = json_reply({}, set_cookie="a=b")
    for _ in range(2):
        await ask(client, f"{hostile.url}/token")
    assert "cookie" not in hostile.received[1][1]


async def test_a_refused_connection_was_never_sent(client: httpx.AsyncClient, closed_port: int) -> None:
    with pytest.raises(BankUnreachable):
        await ask(client, f"http://127.0.0.1:{closed_port}/token")


async def test_an_unknown_host_was_never_sent(client: httpx.AsyncClient) -> None:
    with pytest.raises(BankUnreachable):
        await ask(client, "http://bank.invalid/token")


async def test_a_connection_that_never_opens_was_never_sent(client: httpx.AsyncClient, deaf_port: int) -> None:
    with pytest.raises(BankUnreachable):
        await ask(client, f"http://127.0.0.1:{deaf_port}/token", deadline=1)


async def test_a_server_that_speaks_no_tls_was_never_sent_anything(client: httpx.AsyncClient) -> None:
    async def answer_in_plain_text(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer_in_plain_text, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BankUnreachable):
            await ask(client, f"https://127.0.0.1:{port}/token")


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    client: httpx.AsyncClient, untrusted: ssl.SSLContext
) -> None:
    received = asyncio.Event()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            received.set()
        writer.close()

    async with await asyncio.start_server(receive, "127.0.0.1", 0, ssl=untrusted) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BankUnreachable):
            await ask(client, f"https://127.0.0.1:{port}/token")
    assert not received.is_set()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/token", "127.0.0.1/token"])
async def test_an_address_of_another_kind_was_never_sent(client: httpx.AsyncClient, url: str) -> None:
    with pytest.raises(BankUnreachable):
        await ask(client, url)


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:99999/token", "http://127.0.0.1:port/", "http://[::1/token"),
        *("https://a..b/token", f"https://{'x' * 64}.example/token", "https://xn--/token"),
    ],
)
async def test_an_address_that_cannot_be_read_was_never_sent(client: httpx.AsyncClient, url: str) -> None:
    with pytest.raises(BankUnreachable):
        await ask(client, url)


async def test_a_connection_dropped_without_an_answer_leaves_the_outcome_unknown(
    client: httpx.AsyncClient, hostile: HostileServer
) -> None:
    hostile.replies["/token"] = DROP
    with pytest.raises(BankOutcomeUnknown):
        await ask(client, f"{hostile.url}/token")
    assert hostile.count("/token") == 1


async def test_silence_leaves_the_outcome_unknown(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/token"] = HANG
    with pytest.raises(BankOutcomeUnknown):
        await ask(client, f"{hostile.url}/token", deadline=3)
    assert hostile.count("/token") == 1


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b'content-length: 100\r\n\r\n{"access_token": "half',
        HEAD + b'transfer-encoding: chunked\r\n\r\n50\r\n{"access_token"',
    ],
)
async def test_half_an_answer_is_a_bad_one(client: httpx.AsyncClient, hostile: HostileServer, data: bytes) -> None:
    hostile.replies["/token"] = Reply(data)
    with pytest.raises(BankResponseInvalid):
        await ask(client, f"{hostile.url}/token")


async def test_an_answer_that_stops_half_way_ends_with_the_deadline(
    client: httpx.AsyncClient, hostile: HostileServer
) -> None:
    hostile.replies["/token"] = Reply(HEAD + b"content-length: 100\r\n\r\n{", then_hang=True)
    with pytest.raises(BankOutcomeUnknown):
        await ask(client, f"{hostile.url}/token", deadline=1)


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH_9.6\r\n", HEAD[:20], b"HTTP/1.1 abc OK\r\n\r\n"])
async def test_what_is_not_http_leaves_the_outcome_unknown(
    client: httpx.AsyncClient, hostile: HostileServer, data: bytes
) -> None:
    hostile.replies["/token"] = Reply(data)
    with pytest.raises((BankOutcomeUnknown, BankResponseInvalid)):
        await ask(client, f"{hostile.url}/token")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(client: httpx.AsyncClient, hostile: HostileServer, status: int) -> None:
    hostile.replies["/token"] = json_reply({}, status, location=f"{hostile.url}/elsewhere")
    with pytest.raises(BankResponseInvalid):
        await ask(client, f"{hostile.url}/token")
    assert hostile.count("/elsewhere") == 0


async def test_an_answer_without_end_is_not_read_to_its_end(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/token"] = Reply(HEAD + b"connection: close\r\n\r\n" + b" " * 1_048_577, then_hang=True)
    with pytest.raises(BankResponseInvalid):
        await ask(client, f"{hostile.url}/token")


async def test_a_caller_that_is_cancelled_stays_cancelled(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/token"] = HANG
    asking = asyncio.create_task(ask(client, f"{hostile.url}/token"))
    await eventually(hostile.was_asked)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
