"""Errors of the broker on the query path: in GraphQL's shape, with the documented status and code."""

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from app.query.mutations import MutationDetector
from app.store.enums import ConnectionStatus
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.bank import refreshes_at
from tests.support.broker import EVERYTHING, Api, Broker
from tests.support.error_responses import assert_graphql_error
from tests.support.logs import Logs
from tests.support.postgresql import Databases
from tests.support.relay import Relay

GRAPHQL_RESPONSE_JSON, JSON = "application/graphql-response+json", "application/json"


@pytest.mark.parametrize("key", ["", "Bearer", "Bearer nonsense", "Basic dXNlcjpwYXNz", "brk_x"])
async def test_a_key_is_required(api: Api, connection_id: str, key: str) -> None:
    response = await api.query(connection_id, headers={"authorization": key})
    extensions = assert_graphql_error(response, 401, "UNAUTHORIZED_CALLER")
    assert extensions["reason"] == "unauthorized_caller"
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_the_permission_to_query_is_required(sign_up: ApiFactory, broker: Broker, bank: SandboxClient) -> None:
    api = await sign_up(permissions=[permission for permission in EVERYTHING if permission != "graphql:query"])
    connection = await broker.rows.link(bank, tenant=api.tenant)
    assert_graphql_error(await api.query(connection.id), 403, "PERMISSION_DENIED")
    assert (await bank.ledger()).totals.graphql_requests == {}


@pytest.mark.parametrize("identifier", ["con_unknown", "%00", "%F0%9F%98%80", "x" * 255, "%0D%0A"])
async def test_an_unknown_connection_does_not_exist(api: Api, identifier: str) -> None:
    assert_graphql_error(await api.query(identifier), 404, "CONNECTION_NOT_FOUND")


async def test_a_connection_id_that_is_too_long_does_not_exist(api: Api) -> None:
    response = await api.query("x" * 256)
    assert response.status_code == 404


async def test_another_tenants_connection_does_not_exist(
    stranger: Api, api: Api, connection_id: str, bank: SandboxClient
) -> None:
    assert (await api.query(connection_id)).status_code == 200
    unknown = (await stranger.query("con_unknown")).json()["errors"][0]["message"]
    response = await stranger.query(connection_id)
    assert_graphql_error(response, 404, "CONNECTION_NOT_FOUND")
    assert response.json()["errors"][0]["message"] == unknown
    assert (await bank.ledger()).totals.graphql_requests == {"ok": 1}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (ConnectionStatus.PENDING_CONFIRMATION, "CONNECTION_NOT_READY"),
        (ConnectionStatus.REVOKED, "CONNECTION_REVOKED"),
        (ConnectionStatus.REAUTHORIZATION_REQUIRED, "REAUTHORIZATION_REQUIRED"),
    ],
)
async def test_a_connection_that_is_not_active_is_not_queried(
    *, api: Api, broker: Broker, connection_id: str, bank: SandboxClient, status: ConnectionStatus, code: str
) -> None:
    await broker.rows.change_connection(connection_id, status=status)
    extensions = assert_graphql_error(await api.query(connection_id), 409, code)
    assert extensions["reason"] == code.lower()
    assert (await bank.ledger()).totals.graphql_requests == {}
    assert await refreshes_at(bank) == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_only_post_is_allowed(api: Api, connection_id: str, method: str) -> None:
    response = await api.request(method, f"/v1/connections/{connection_id}/graphql")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    if method != "HEAD":
        assert_graphql_error(response, 405, "BAD_REQUEST")


class TestBody:
    async def test_a_body_that_is_too_large_is_rejected(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        response = await api.query(connection_id, "#" * 1_048_577)
        assert_graphql_error(response, 413, "REQUEST_TOO_LARGE")
        assert (await bank.ledger()).totals.graphql_requests == {}

    async def test_a_body_without_a_content_length_is_limited_too(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(17):
                yield b"#" * 65_536

        response = await api.post(f"/v1/connections/{connection_id}/graphql", content=chunks())
        assert_graphql_error(response, 413, "REQUEST_TOO_LARGE")
        assert (await bank.ledger()).totals.graphql_requests == {}

    async def test_a_body_of_the_maximum_length_is_accepted(
        self, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
    ) -> None:
        broker = await brokers(max_query_bytes=2_000)
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant)
        path = f"/v1/connections/{connection.id}/graphql"
        headers = {"content-type": "application/json"}
        body = b'{"query":"{ user { id } }"}'.ljust(2_000)
        assert (await api.post(path, content=body, headers=headers)).json()["data"]
        assert_graphql_error(await api.post(path, content=body + b" ", headers=headers), 413, "REQUEST_TOO_LARGE")

    @pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP"])
    async def test_a_compressed_body_is_rejected(self, api: Api, connection_id: str, encoding: str) -> None:
        response = await api.query(connection_id, headers={"content-encoding": encoding})
        extensions = assert_graphql_error(response, 400, "BAD_REQUEST")
        assert extensions["reason"] == "content_encoding_unsupported"

    async def test_an_interrupted_body_is_not_sent_to_the_bank(
        self, api: Api, broker: Broker, connection_id: str, bank: SandboxClient
    ) -> None:
        reader, writer = await asyncio.open_connection(*broker.host)
        writer.write(
            f"POST /v1/connections/{connection_id}/graphql HTTP/1.1\r\nhost: broker\r\n"
            f"authorization: Bearer {api.api_key}\r\ncontent-length: 100\r\n\r\n{{".encode()
        )
        await writer.drain()
        writer.write_eof()
        await reader.read()
        writer.close()
        assert (await api.query(connection_id)).status_code == 200
        assert (await bank.ledger()).totals.graphql_requests == {"ok": 1}


class TestMediaType:
    @pytest.mark.parametrize(
        ("accept", "expected"),
        [
            (None, JSON),
            ("*/*", JSON),
            (JSON, JSON),
            (GRAPHQL_RESPONSE_JSON, GRAPHQL_RESPONSE_JSON),
            (f"{GRAPHQL_RESPONSE_JSON}, {JSON};q=0.9", GRAPHQL_RESPONSE_JSON),
            (f"{JSON};q=0.9, {GRAPHQL_RESPONSE_JSON};q=1.0", GRAPHQL_RESPONSE_JSON),
            (f"{GRAPHQL_RESPONSE_JSON};q=0, {JSON}", JSON),
            (f"{JSON}, {GRAPHQL_RESPONSE_JSON};q=0.5", JSON),
            ("text/html", JSON),
            (f"{GRAPHQL_RESPONSE_JSON};q=high", GRAPHQL_RESPONSE_JSON),
        ],
    )
    async def test_the_media_type_of_an_error_follows_accept(self, api: Api, accept: str | None, expected: str) -> None:
        headers = {} if accept is None else {"accept": accept}
        request = api.build_request(
            "POST", "/v1/connections/con_unknown/graphql", json={"query": "{ a }"}, headers=headers
        )
        if accept is None:
            del request.headers["accept"]
        response = await api.send(request)
        assert_graphql_error(response, 404, "CONNECTION_NOT_FOUND")
        assert response.headers["content-type"].partition(";")[0] == expected


class TestFailingBroker:
    async def test_an_internal_error_is_returned_without_details(
        self, sign_up: ApiFactory, broker: Broker, monkeypatch: pytest.MonkeyPatch, logs: Logs
    ) -> None:
        def crash(*_: object) -> bool:
            raise ZeroDivisionError("planted-value")

        monkeypatch.setattr(MutationDetector, "may_mutate", crash)
        api = await sign_up(permissions=["graphql:query"])
        response = await api.query("con_unknown")
        assert_graphql_error(response, 500, "BROKER_UNAVAILABLE")
        assert "planted-value" not in response.text + logs.text
        assert logs.with_event("query_crashed")[0]["exception"][0]["type"] == "builtins.ZeroDivisionError"

    async def test_an_unreachable_database_is_reported(
        self, brokers: BrokerFactory, sign_up: ApiFactory, relay: Relay, database_url: SecretStr
    ) -> None:
        broker = await brokers(database_url=relay.url)
        api = await sign_up(broker=broker)
        connection = await broker.rows.insert(tenant=api.tenant)
        await relay.cut()
        response = await api.query(connection.id)
        extensions = assert_graphql_error(response, 503, "BROKER_UNAVAILABLE")
        assert int(response.headers["retry-after"]) == extensions["retry_after"] == 1
        await relay.restore()
        response = await api.query(connection.id)
        assert response.status_code != 503

    async def test_a_missing_encryption_key_is_reported(
        self, brokers: BrokerFactory, sign_up: ApiFactory, databases: Databases
    ) -> None:
        async with databases.fresh() as url:
            other = SecretStr(f"other:{base64.b64encode(b'o' * 32).decode()}")
            # Started before the key is in use, since a later start would fail.
            reader = await brokers(database_url=url, encryption_keys=other)
            writer = await brokers(database_url=url)
            api = await sign_up(broker=writer)
            connection = await writer.rows.insert(tenant=api.tenant)
            response = await api.post(
                f"{reader.url}/v1/connections/{connection.id}/graphql", json={"query": "{ user { id } }"}
            )
            assert_graphql_error(response, 503, "BROKER_UNAVAILABLE")
            assert "other" not in response.text
