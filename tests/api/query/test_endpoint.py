"""`POST /v1/connections/{id}/graphql` forwards queries and responses."""

import asyncio
import gzip
import json
import zlib

import httpx
import pytest

from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker
from tests.support.error_responses import assert_graphql_error
from tests.support.hostile import HostileServer, Reply, json_reply
from tests.support.logs import Logs
from tests.support.upstream import reply

DATA = {"data": {"user": {"id": "user/abc"}}}


@pytest.fixture
async def proxied(proxy: Broker, sign_up: ApiFactory) -> Api:
    """A caller of the broker whose queries go to `upstream`."""
    return await sign_up(broker=proxy)


@pytest.fixture
async def linked(proxy: Broker, proxied: Api) -> str:
    """A connection of `proxied`."""
    return (await proxy.rows.insert(tenant=proxied.tenant)).id


async def query_raw(api: Api, connection_id: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """Send a query, and return the response and its body before decoding."""
    request = {"json": {"query": "{ user { id } }"}, "headers": headers}
    async with api.stream("POST", f"/v1/connections/{connection_id}/graphql", **request) as response:  # type: ignore[arg-type]
        return response, b"".join([chunk async for chunk in response.aiter_raw()])


class TestResponse:
    @pytest.mark.parametrize(
        ("status", "body"),
        [
            ("200 OK", b'{"data":{"user":null}}'),
            ("200 OK", b'{ "data" : { "n" : 1.0 } , "extensions":{} }\n'),
            ("200 OK", '{"data":{"name":"Čapek 😀"}}'.encode()),
            (
                "200 OK",
                b'{"data":null,"errors":[{"message":"no","extensions":{"code":"FORBIDDEN","missingScopes":["accounts"]}}]}',
            ),
            ("200 OK", b'{"data":{"a":1,"b":null},"errors":[{"message":"partial","path":["b"]}]}'),
            (
                "200 OK",
                b'{"errors":[{"message":"go","extensions":{"code":"USER_INTERACTION_REQUIRED","userInteractionUrl":"https://x","id":"1"}}]}',
            ),
            ("200 OK", b'[{"data":{}},{"data":{}}]'),
            ("200 OK", b""),
            ("200 OK", b"not json at all"),
            ("200 OK", b"[" * 4_000),
            ("200 OK", b'{"data":{"text":"UNAUTHENTICATED"}}'),
            ("200 OK", b'{"data":{"a":1},"errors":[{"message":"x","extensions":{"code":"UNAUTHENTICATED"}}]}'),
            ("400 Bad Request", b'{"errors":[{"message":"syntax"}]}'),
            ("403 Forbidden", b'{"errors":[{"message":"no"}]}'),
            ("404 Not Found", b"<html>nothing here</html>"),
            ("422 Unprocessable Content", b'{"errors":[]}'),
            ("429 Too Many Requests", b'{"errors":[{"message":"slow down"}]}'),
            ("500 Internal Server Error", b"<html>stack trace</html>"),
            ("503 Service Unavailable", b""),
            ("599 Whatever", b"x"),
        ],
        ids=lambda value: value if isinstance(value, str) else value[:60].decode(),
    )
    async def test_status_and_body_pass_through_unchanged(
        self, proxied: Api, linked: str, upstream: HostileServer, status: str, body: bytes
    ) -> None:
        upstream.replies["/graphql"] = reply(body, status)
        response, received = await query_raw(proxied, linked)
        assert response.status_code == int(status[:3])
        assert received == body
        assert response.headers["content-type"] == "application/json"
        assert response.headers["content-length"] == str(len(body))
        assert upstream.count("/graphql") == 1

    async def test_only_the_allowed_headers_are_returned(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        upstream.replies["/graphql"] = reply(
            b"{}",
            "429 Too Many Requests",
            content_type="application/graphql-response+json; charset=utf-8",
            cache_control="private",
            content_language="en",
            retry_after="7",
            vary="accept",
            set_cookie="session=bank",
            server="bank/1.0",
            location="https://evil.example/",
            www_authenticate="Bearer",
            access_control_allow_origin="*",
            x_powered_by="bank",
            broker_token_version="99",
        )
        response = await proxied.query(linked)
        assert {name: response.headers[name] for name in ("content-type", "cache-control", "content-language")} == {
            "content-type": "application/graphql-response+json; charset=utf-8",
            "cache-control": "private",
            "content-language": "en",
        }
        assert (response.headers["retry-after"], response.headers["vary"]) == ("7", "accept")
        assert response.headers.get_list("broker-token-version") == ["1"]
        hidden = {"set-cookie", "server", "location", "www-authenticate", "x-powered-by"}
        assert not hidden & set(response.headers)
        assert "access-control-allow-origin" not in response.headers

    async def test_the_broker_adds_the_timing_and_the_version_of_the_token(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        response = await proxied.query(linked)
        assert response.headers["broker-token-version"] == "1"
        timing = dict(part.strip().split(";dur=") for part in response.headers["server-timing"].split(","))
        assert timing.keys() == {"broker", "bank"}
        assert all(float(value) >= 0 for value in timing.values())
        assert response.headers["x-request-id"].startswith("req_")

    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    async def test_a_compressed_response_stays_compressed(
        self, proxied: Api, linked: str, upstream: HostileServer, encoding: str
    ) -> None:
        plain = json.dumps(DATA).encode()
        body = gzip.compress(plain) if encoding == "gzip" else zlib.compress(plain)
        upstream.replies["/graphql"] = reply(body, content_encoding=encoding)
        response, received = await query_raw(proxied, linked)
        assert response.headers["content-encoding"] == encoding
        assert received == body

    async def test_a_gzip_response_of_the_bank_can_be_read(self, api: Api, connection_id: str) -> None:
        response = await api.query(
            connection_id, "{ user { bankAccounts { id transactions(first: 50) { edges { node { id } } } } } }"
        )
        assert response.headers["content-encoding"] == "gzip"
        assert response.json()["data"]["user"]["bankAccounts"]

    async def test_redirects_are_not_followed(self, proxied: Api, linked: str, upstream: HostileServer) -> None:
        upstream.replies["/graphql"] = reply(b"moved", "302 Found", location=f"{upstream.url}/elsewhere")
        response = await proxied.query(linked)
        assert response.status_code == 302
        assert response.text == "moved"
        assert upstream.count("/elsewhere") == 0

    async def test_a_query_is_logged_and_counted_without_its_content(
        self, proxied: Api, linked: str, upstream: HostileServer, logs: Logs
    ) -> None:
        upstream.replies["/graphql"] = json_reply(DATA)
        await proxied.query(linked, "query Confidential { user { id } }")
        [line] = await logs.access_lines(1)
        assert line["route"] == "/v1/connections/{connection_id}/graphql"
        assert (line["status"], line["method"], line["caller"]) == (200, "POST", proxied.caller.id)
        assert "Confidential" not in logs.text


class TestFailingBank:
    async def test_an_unreachable_bank_is_reported(self, brokers: BrokerFactory, sign_up: ApiFactory) -> None:
        broker = await brokers(stitch_graphql_url="http://127.0.0.1:1/graphql")
        api = await sign_up(broker=broker)
        connection = await broker.rows.insert(tenant=api.tenant)
        assert_graphql_error(await api.query(connection.id), 502, "BANK_UNAVAILABLE")

    async def test_a_query_that_times_out_is_not_repeated(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        upstream.replies["/graphql"] = Reply(b"", then_hang=True)
        assert_graphql_error(await proxied.query(linked), 504, "BANK_TIMEOUT")
        assert upstream.count("/graphql") == 1

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"HTTP/1.1 200",
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: many\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        ],
        ids=lambda data: data[:50].decode() + str(len(data)),
    )
    async def test_a_query_with_an_invalid_response_is_not_repeated(
        self, proxied: Api, linked: str, upstream: HostileServer, data: bytes
    ) -> None:
        upstream.replies["/graphql"] = Reply(data)
        assert_graphql_error(await proxied.query(linked), 502, "BANK_UNAVAILABLE")
        assert upstream.count("/graphql") == 1

    async def test_a_mutation_that_may_have_been_run_is_not_repeated(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        await bank.set_faults(graphql={"lose_answer": True, "times": 1})
        mutation = (
            'mutation { userInitiatePayment(input: { amount: { quantity: "1.00", currency: "ZAR" } }) '
            "{ paymentInitiation { id } } }"
        )
        assert_graphql_error(await api.query(connection_id, mutation), 502, "BANK_UNAVAILABLE")
        assert (await bank.ledger()).totals.payments == 1


class TestConcurrency:
    async def test_concurrent_queries_share_one_refresh(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        await bank.control("expire")
        responses = await asyncio.gather(*(api.query(connection_id) for _ in range(50)))
        assert {response.status_code for response in responses} == {200}
        assert {response.headers["broker-token-version"] for response in responses} == {"2"}
        assert all(response.json()["data"] for response in responses)
        assert (await bank.ledger()).totals.token_requests["refresh_token"] == {"ok": 1}
