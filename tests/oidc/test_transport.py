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

from app.errors import BankOutcomeUnknown, BankResponseInvalid, BankUnreachable, ConfigurationError
from app.observability.trace_context import TraceContext, set_trace_context
from app.oidc.response_body import parse_json_object
from app.oidc.transport import BankResponse, bank_client, send
from tests.support.eventually import eventually
from tests.support.hostile import DROP, HANG, HostileServer, Reply, json_reply

# Long enough that no test depends on it if the server answers at all.
LONG_TIMEOUT = 20.0  # seconds


async def post(client: httpx.AsyncClient, url: str, *, seconds: float = LONG_TIMEOUT) -> BankResponse:
    return await send(client, "POST", url, endpoint="token", timeout_seconds=seconds, form={"token": "a+/= é"})


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is reserved, but on which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def unresponsive_port() -> Iterator[int]:
    """A port that never accepts a connection, as behind a firewall that drops packets: its backlog is full."""
    with socket.socket() as listening, contextlib.ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


@pytest.fixture
def self_signed(client_key: RSAKey, tmp_path: Path) -> ssl.SSLContext:
    """The TLS context of a server with a self-signed certificate."""
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


async def test_a_response_is_returned_completely(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/token"] = json_reply({"a": 1}, 400, x_header="y")
    response = await post(client, f"{hostile.url}/token")
    assert (response.status, response.body, response.headers["x-header"]) == (400, b'{"a": 1}', "y")
    assert '{"a": 1}' not in repr(response)


async def test_the_form_is_encoded_and_no_compression_is_requested(
    client: httpx.AsyncClient, hostile: HostileServer
) -> None:
    await post(client, f"{hostile.url}/token")
    ((_, headers, body),) = hostile.received
    assert body == b"token=a%2B%2F%3D+%C3%A9"
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert headers["accept"] == "application/json"
    assert headers["accept-encoding"] == "identity"


async def test_the_trace_context_is_sent_to_the_bank(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/x"] = json_reply({})
    trace = TraceContext(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"a=b")

    async def serve_request() -> None:
        set_trace_context(trace)
        await post(client, f"{hostile.url}/x")

    await asyncio.create_task(serve_request())
    await post(client, f"{hostile.url}/x")
    [(_, traced, _), (_, untraced, _)] = hostile.received
    assert (traced["traceparent"], traced["tracestate"]) == (trace.traceparent.decode(), "a=b")
    assert not {"traceparent", "tracestate"} & untraced.keys()


async def test_every_request_opens_a_new_connection(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    # A second request on the same connection would not be read.
    hostile.replies["/token"] = Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", then_hang=True)
    for _ in range(2):
        await post(client, f"{hostile.url}/token")
    assert hostile.count("/token") == 2


async def test_cookies_are_not_sent_back(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/token"] = json_reply({}, set_cookie="a=b")
    for _ in range(2):
        await post(client, f"{hostile.url}/token")
    assert "cookie" not in hostile.received[1][1]


async def test_a_request_on_a_refused_connection_was_never_sent(client: httpx.AsyncClient, closed_port: int) -> None:
    with pytest.raises(BankUnreachable):
        await post(client, f"http://127.0.0.1:{closed_port}/token")


async def test_a_request_to_an_unknown_host_was_never_sent(client: httpx.AsyncClient) -> None:
    with pytest.raises(BankUnreachable):
        await post(client, "http://bank.invalid/token")


async def test_a_request_on_a_connection_that_does_not_open_was_never_sent(
    client: httpx.AsyncClient, unresponsive_port: int
) -> None:
    with pytest.raises(BankUnreachable):
        await post(client, f"http://127.0.0.1:{unresponsive_port}/token", seconds=1)


async def test_a_request_to_a_server_without_tls_was_never_sent(client: httpx.AsyncClient) -> None:
    async def answer_in_plain_text(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer_in_plain_text, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BankUnreachable):
            await post(client, f"https://127.0.0.1:{port}/token")


async def test_nothing_is_sent_to_a_server_with_an_untrusted_certificate(
    client: httpx.AsyncClient, self_signed: ssl.SSLContext
) -> None:
    received = asyncio.Event()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            received.set()
        writer.close()

    async with await asyncio.start_server(receive, "127.0.0.1", 0, ssl=self_signed) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BankUnreachable):
            await post(client, f"https://127.0.0.1:{port}/token")
    assert not received.is_set()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/token", "127.0.0.1/token"])
async def test_a_request_to_another_kind_of_url_was_never_sent(client: httpx.AsyncClient, url: str) -> None:
    with pytest.raises(BankUnreachable):
        await post(client, url)


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:99999/token", "http://127.0.0.1:port/", "http://[::1/token"),
        *("https://a..b/token", f"https://{'x' * 64}.example/token", "https://xn--/token"),
    ],
)
async def test_a_request_to_a_malformed_url_was_never_sent(client: httpx.AsyncClient, url: str) -> None:
    with pytest.raises(BankUnreachable):
        await post(client, url)


async def test_a_connection_closed_without_a_response_leaves_the_outcome_unknown(
    client: httpx.AsyncClient, hostile: HostileServer
) -> None:
    hostile.replies["/token"] = DROP
    with pytest.raises(BankOutcomeUnknown):
        await post(client, f"{hostile.url}/token")
    assert hostile.count("/token") == 1


async def test_a_timeout_leaves_the_outcome_unknown(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/token"] = HANG
    with pytest.raises(BankOutcomeUnknown):
        await post(client, f"{hostile.url}/token", seconds=3)
    assert hostile.count("/token") == 1


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b'content-length: 100\r\n\r\n{"access_token": "half',
        HEAD + b'transfer-encoding: chunked\r\n\r\n50\r\n{"access_token"',
    ],
)
async def test_half_a_response_is_invalid(client: httpx.AsyncClient, hostile: HostileServer, data: bytes) -> None:
    hostile.replies["/token"] = Reply(data)
    with pytest.raises(BankResponseInvalid):
        await post(client, f"{hostile.url}/token")


async def test_a_response_that_stops_half_way_times_out(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/token"] = Reply(HEAD + b"content-length: 100\r\n\r\n{", then_hang=True)
    with pytest.raises(BankOutcomeUnknown):
        await post(client, f"{hostile.url}/token", seconds=1)


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH_9.6\r\n", HEAD[:20], b"HTTP/1.1 abc OK\r\n\r\n"])
async def test_a_response_that_is_not_http_leaves_the_outcome_unknown(
    client: httpx.AsyncClient, hostile: HostileServer, data: bytes
) -> None:
    hostile.replies["/token"] = Reply(data)
    with pytest.raises((BankOutcomeUnknown, BankResponseInvalid)):
        await post(client, f"{hostile.url}/token")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(client: httpx.AsyncClient, hostile: HostileServer, status: int) -> None:
    hostile.replies["/token"] = json_reply({}, status, location=f"{hostile.url}/elsewhere")
    with pytest.raises(BankResponseInvalid):
        await post(client, f"{hostile.url}/token")
    assert hostile.count("/elsewhere") == 0


async def test_an_endless_response_is_not_read_to_its_end(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/token"] = Reply(HEAD + b"connection: close\r\n\r\n" + b" " * 1_048_577, then_hang=True)
    with pytest.raises(BankResponseInvalid):
        await post(client, f"{hostile.url}/token")


async def test_cancellation_reaches_the_caller(client: httpx.AsyncClient, hostile: HostileServer) -> None:
    hostile.replies["/token"] = HANG
    request = asyncio.create_task(post(client, f"{hostile.url}/token"))
    await eventually(hostile.has_received)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


@pytest.mark.parametrize("scheme", ["", "http://"])
async def test_a_proxy_of_the_environment_is_used_with_or_without_a_scheme(
    hostile: HostileServer, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("http_proxy", hostile.url.replace("http://", scheme))
    monkeypatch.setenv("no_proxy", "10.0.0.0/8,exempt.invalid:80")
    hostile.replies["http://bank.invalid/x"] = json_reply({"through": "proxy"})
    async with bank_client() as client:
        response = await send(client, "GET", "http://bank.invalid/x", endpoint="jwks", timeout_seconds=5)
        assert parse_json_object(response.text()) == {"through": "proxy"}
        with pytest.raises(BankUnreachable):
            await send(client, "GET", "http://exempt.invalid/x", endpoint="jwks", timeout_seconds=5)


async def test_a_proxy_that_cannot_be_used_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:1080")
    with pytest.raises(ConfigurationError, match=r"ALL_PROXY: SOCKS proxies are not supported"):
        async with bank_client():
            pass
