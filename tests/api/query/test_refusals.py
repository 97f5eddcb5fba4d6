"""What the query path refuses by itself: in GraphQL's shape, with the status and code of the contract."""

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from app.query.mutations import MutationDetector
from app.store.enums import ConnectionStatus
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.answers import assert_graphql_refusal
from tests.support.bank import refreshes_at
from tests.support.broker import EVERYTHING, Api, Broker
from tests.support.logs import Logs
from tests.support.postgresql import Databases
from tests.support.relay import Relay

MODERN, LEGACY = "application/graphql-response+json", "application/json"


@pytest.mark.parametrize("key", ["", "Bearer", "Bearer nonsense", "Basic dXNlcjpwYXNz", "brk_x"])
async def test_without_a_key_nobody_asks(api: Api, connection_id: str, key: str) -> None:
    answer = await api.query(connection_id, headers={"authorization": key})
    extensions = assert_graphql_refusal(answer, 401, "UNAUTHORIZED_CALLER")
    assert extensions["reason"] == "unauthorized_caller"
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_the_permission_to_query_is_needed(sign_up: ApiFactory, broker: Broker, bank: SandboxClient) -> None:
    api = await sign_up(permissions=[one for one in EVERYTHING if one != "graphql:query"])
    connection = await broker.rows.link(bank, tenant=api.tenant)
    assert_graphql_refusal(await api.query(connection.id), 403, "PERMISSION_DENIED")
    assert (await bank.ledger()).totals.graphql_requests == {}


@pytest.mark.parametrize("identifier", ["con_unknown", "%00", "%F0%9F%98%80", "x" * 255, "%0D%0A"])
async def test_an_unknown_connection_does_not_exist(api: Api, identifier: str) -> None:
    assert_graphql_refusal(await api.query(identifier), 404, "CONNECTION_NOT_FOUND")


async def test_a_connection_id_that_is_too_long_does_not_exist(api: Api) -> None:
    answer = await api.query("x" * 256)
    assert answer.status_code == 404


async def test_another_tenants_connection_does_not_exist(
    stranger: Api, api: Api, connection_id: str, bank: SandboxClient
) -> None:
    assert (await api.query(connection_id)).status_code == 200
    unknown = (await stranger.query("con_unknown")).json()["errors"][0]["message"]
    answer = await stranger.query(connection_id)
    assert_graphql_refusal(answer, 404, "CONNECTION_NOT_FOUND")
    assert answer.json()["errors"][0]["message"] == unknown
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
    extensions = assert_graphql_refusal(await api.query(connection_id), 409, code)
    assert extensions["reason"] == code.lower()
    assert (await bank.ledger()).totals.graphql_requests == {}
    assert await refreshes_at(bank) == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_only_post_is_allowed(api: Api, connection_id: str, method: str) -> None:
    answer = await api.request(method, f"/v1/connections/{connection_id}/graphql")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    if method != "HEAD":
        assert_graphql_refusal(answer, 405, "BAD_REQUEST")


class TestBody:
    async def test_one_that_is_too_large_is_refused(self, api: Api, connection_id: str, bank: SandboxClient) -> None:
        answer = await api.query(connection_id, "#" * 1_048_577)
        assert_graphql_refusal(answer, 413, "REQUEST_TOO_LARGE")
        assert (await bank.ledger()).totals.graphql_requests == {}

    async def test_one_whose_length_is_not_announced_is_bounded_too(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(17):
                yield b"#" * 65_536

        answer = await api.post(f"/v1/connections/{connection_id}/graphql", content=pieces())
        assert_graphql_refusal(answer, 413, "REQUEST_TOO_LARGE")
        assert (await bank.ledger()).totals.graphql_requests == {}

    async def test_one_of_the_greatest_length_passes(
        self, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
    ) -> None:
        broker = await brokers(max_query_bytes=2_000)
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant)
        path = f"/v1/connections/{connection.id}/graphql"
        headers = {"content-type": "application/json"}
        body = b'{"query":"{ user { id } }"}'.ljust(2_000)
        assert (await api.post(path, content=body, headers=headers)).json()["data"]
        assert_graphql_refusal(await api.post(path, content=body + b" ", headers=headers), 413, "REQUEST_TOO_LARGE")

    @pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP"])
    async def test_a_compressed_one_is_refused(self, api: Api, connection_id: str, encoding: str) -> None:
        answer = await api.query(connection_id, headers={"content-encoding": encoding})
        extensions = assert_graphql_refusal(answer, 400, "BAD_REQUEST")
        assert extensions["reason"] == "content_encoding_unsupported"

    async def test_one_that_breaks_off_reaches_no_bank(
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
            (None, LEGACY),
            ("*/*", LEGACY),
            (LEGACY, LEGACY),
            (MODERN, MODERN),
            (f"{MODERN}, {LEGACY};q=0.9", MODERN),
            (f"{LEGACY};q=0.9, {MODERN};q=1.0", MODERN),
            (f"{MODERN};q=0, {LEGACY}", LEGACY),
            (f"{LEGACY}, {MODERN};q=0.5", LEGACY),
            ("text/html", LEGACY),
            (f"{MODERN};q=high", MODERN),
        ],
    )
    async def test_it_follows_accept(self, api: Api, accept: str | None, expected: str) -> None:
        headers = {} if accept is None else {"accept": accept}
        request = api.build_request(
            "POST", "/v1/connections/con_unknown/graphql", json={"query": "{ a }"}, headers=headers
        )
        if accept is None:
            del request.headers["accept"]
        answer = await api.send(request)
        assert_graphql_refusal(answer, 404, "CONNECTION_NOT_FOUND")
        assert answer.headers["content-type"].partition(";")[0] == expected


class TestBrokerInTrouble:
    async def test_a_fault_of_ours_is_told_without_what_happened(
        self, sign_up: ApiFactory, broker: Broker, monkeypatch: pytest.MonkeyPatch, logs: Logs
    ) -> None:
        def crash(*_: object) -> bool:
            raise ZeroDivisionError("planted-value")

        monkeypatch.setattr(MutationDetector, "may_mutate", crash)
        api = await sign_up(permissions=["graphql:query"])
        answer = await api.query("con_unknown")
        assert_graphql_refusal(answer, 500, "BROKER_UNAVAILABLE")
        assert "planted-value" not in answer.text + logs.text
        assert logs.with_event("query_crashed")[0]["exception"][0]["type"] == "builtins.ZeroDivisionError"

    async def test_a_database_that_is_away_is_told_so(
        self, brokers: BrokerFactory, sign_up: ApiFactory, relay: Relay, database_url: SecretStr
    ) -> None:
        broker = await brokers(database_url=relay.url)
        api = await sign_up(broker=broker)
        connection = await broker.rows.insert(tenant=api.tenant)
        await relay.cut()
        answer = await api.query(connection.id)
        extensions = assert_graphql_refusal(answer, 503, "BROKER_UNAVAILABLE")
        assert int(answer.headers["retry-after"]) == extensions["retry_after"] == 1
        await relay.restore()
        answer = await api.query(connection.id)
        assert answer.status_code != 503

    async def test_a_key_ring_that_lacks_a_key_is_told_so(
        self, brokers: BrokerFactory, sign_up: ApiFactory, databases: Databases
    ) -> None:
        async with databases.fresh() as url:
            other = SecretStr(f"other:{base64.b64encode(b'o' * 32).decode()}")
            # Started before the key is in use: afterwards it would refuse to.
            reader = await brokers(database_url=url, encryption_keys=other)
            writer = await brokers(database_url=url)
            api = await sign_up(broker=writer)
            connection = await writer.rows.insert(tenant=api.tenant)
            answer = await api.post(
                f"{reader.url}/v1/connections/{connection.id}/graphql", json={"query": "{ user { id } }"}
            )
            assert_graphql_refusal(answer, 503, "BROKER_UNAVAILABLE")
            assert "other" not in answer.text
