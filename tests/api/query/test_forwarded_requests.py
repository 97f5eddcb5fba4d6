"""The part of a query that is forwarded to the bank."""

import asyncio
import json

import pytest

from tests.api.conftest import ApiFactory
from tests.support.broker import Api, Broker
from tests.support.hostile import HostileServer, Reply, json_reply
from tests.support.logs import Logs

DATA = {"data": {"user": {"id": "user/abc"}}}


@pytest.fixture
async def proxied(proxy: Broker, sign_up: ApiFactory) -> Api:
    """A caller of the broker whose queries go to `upstream`."""
    return await sign_up(broker=proxy)


@pytest.fixture
async def linked(proxy: Broker, proxied: Api) -> str:
    """A connection of `proxied`."""
    return (await proxy.rows.insert(tenant=proxied.tenant)).id


class TestRequest:
    async def test_the_body_is_forwarded_byte_for_byte(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        body = '{ "query" : "{ user { id } }",\n "variables":{"a":1.0, "b":"é"} , "extra":true }'.encode()
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.post(
            f"/v1/connections/{linked}/graphql", content=body, headers={"content-type": "application/json"}
        )
        assert [body for _, _, body in upstream.received] == [body]

    async def test_only_the_allowed_headers_are_forwarded(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        forwarded = {
            "accept": "application/graphql-response+json",
            "accept-language": "af",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "tracestate": "a=b",
            "apollographql-client-name": "shop",
            "apollographql-client-version": "1",
            "x-apollo-operation-name": "Accounts",
        }
        removed = {
            "cookie": "session=caller",
            "x-forwarded-for": "10.0.0.1",
            "x-api-key": "caller",
            "proxy-authorization": "Basic x",
            "origin": "https://shop.example",
            "referer": "https://shop.example/",
            "x-request-id": "trace-42",
            "idempotency-key": "1",
            "user-agent": "caller/1.0",
        }
        await proxied.query(linked, headers=forwarded | removed)
        [(_, received, _)] = upstream.received
        assert received.pop("authorization") == "Bearer an access token"
        assert received.pop("user-agent") == "stitch-token-broker"
        assert received.pop("host") == upstream.url.removeprefix("http://")
        assert received.pop("content-type") == "application/json"
        assert int(received.pop("content-length")) > 0
        assert received.pop("accept-encoding") == "gzip, deflate"
        assert {name: value for name, value in received.items() if value} == forwarded

    async def test_a_header_that_is_too_long_is_not_forwarded(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        for name in ("accept", "accept-language", "apollographql-client-name", "accept-encoding"):
            await proxied.query(linked, headers={name: "gzip," * 250})
        assert all(len(value) < 1_025 for _, received, _ in upstream.received for value in received.values())
        assert [received["accept-encoding"] for _, received, _ in upstream.received][-1] == "identity"

    async def test_no_content_type_is_added(self, proxied: Api, linked: str, upstream: HostileServer) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.post(f"/v1/connections/{linked}/graphql", content=b"{ a }")
        [(_, received, _)] = upstream.received
        assert "content-type" not in received

    @pytest.mark.parametrize("status", [204, 304])
    async def test_a_response_without_a_body_has_no_content_length(
        self, proxied: Api, linked: str, upstream: HostileServer, status: int
    ) -> None:
        upstream.replies["/graphql"] = Reply(
            f"HTTP/1.1 {status} Any\r\ncontent-length: 5\r\nconnection: close\r\n\r\n".encode()
        )
        response = await proxied.query(linked)
        assert (response.status_code, response.content) == (status, b"")
        assert "content-length" not in response.headers

    async def test_a_malformed_trace_is_not_forwarded(self, proxied: Api, linked: str, upstream: HostileServer) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.query(linked, headers={"traceparent": "00-0-0-01", "tracestate": "a=b"})
        [(_, received, _)] = upstream.received
        assert not {"traceparent", "tracestate"} & received.keys()

    async def test_the_log_lines_of_a_request_have_its_trace_id(
        self, proxied: Api, linked: str, upstream: HostileServer, logs: Logs
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.query(linked, headers={"traceparent": f"00-{'ab' * 16}-b7ad6b7169203331-01"})
        await proxied.query(linked)
        assert [line.get("trace_id") for line in await logs.access_lines(2)] == ["ab" * 16, None]

    async def test_the_callers_key_never_reaches_the_bank(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.query(linked, headers={"cookie": f"key={proxied.api_key}"})
        assert proxied.api_key not in str(upstream.received)

    @pytest.mark.parametrize(
        ("accepted", "requested"),
        [
            ("gzip", "gzip"),
            ("br, zstd", "identity"),
            ("br;q=1.0, gzip;q=0.8", "gzip"),
            ("identity", "identity"),
            ("gzip;q=0", "identity"),
        ],
    )
    async def test_the_bank_is_asked_for_encodings_that_the_broker_can_decode(
        self, proxied: Api, linked: str, upstream: HostileServer, accepted: str, requested: str
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.query(linked, headers={"accept-encoding": accepted})
        assert upstream.received[0][1]["accept-encoding"] == requested

    @pytest.mark.parametrize("value", [b"a\x01b", b"a\x7fb", b"a\x0bb"])
    async def test_a_header_with_control_characters_is_not_forwarded(
        self, proxy: Broker, proxied: Api, linked: str, upstream: HostileServer, value: bytes
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        reader, writer = await asyncio.open_connection(*proxy.host)
        head = (
            f"POST /v1/connections/{linked}/graphql HTTP/1.1\r\nhost: broker\r\nauthorization: Bearer {proxied.api_key}"
        )
        body = b'{"query":"{ a }"}'
        # In one write: bytes that arrive after the server has closed would reset the connection, and lose the response.
        writer.write(
            head.encode() + b"\r\naccept-language: " + value + b"\r\nconnection: close\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )
        status = (await reader.read()).split(maxsplit=2)[1]
        writer.close()
        assert status == b"400"
        assert upstream.received == []

    async def test_a_batch_is_forwarded_unchanged(self, proxied: Api, linked: str, upstream: HostileServer) -> None:
        upstream.replies["/graphql"] = json_reply([DATA, DATA])
        batch = [{"query": "{ a }"}, {"query": "mutation { b }"}]
        response = await proxied.post(f"/v1/connections/{linked}/graphql", json=batch)
        assert response.json() == [DATA, DATA]
        assert json.loads(upstream.received[0][2]) == batch

    async def test_the_url_at_the_bank_is_fixed(self, proxied: Api, linked: str, upstream: HostileServer) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.post(
            f"/v1/connections/{linked}/graphql?query=mutation+{{a}}",
            json={"query": "{ a }"},
            headers={"x-forwarded-host": "evil.example", "x-original-url": "/evil"},
        )
        assert [path for path, _, _ in upstream.received] == ["/graphql"]
