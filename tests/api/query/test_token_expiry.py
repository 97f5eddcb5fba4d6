"""An expired token is refreshed once, and the query repeated once."""

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.errors import BrokerUnavailable
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory
from tests.support.bank import refreshes_at
from tests.support.broker import Api, Broker
from tests.support.hostile import HostileServer, Reply, json_reply
from tests.support.upstream import chunk, reply

MESSAGE = "UNAUTHENTICATED: Token is expired or malformed"
TOP_LEVEL = {"errors": [{"message": MESSAGE}], "extensions": {"code": "UNAUTHENTICATED"}}
NESTED = {"errors": [{"message": MESSAGE, "extensions": {"code": "UNAUTHENTICATED"}}]}
FIELD_ERROR = {"data": None, "errors": [{"path": ["a"], "extensions": {"code": "UNAUTHENTICATED"}}]}
DATA = {"data": {"user": {"id": "user/abc"}}}
PAYMENT = (
    'mutation { userInitiatePayment(input: { amount: { quantity: "1.00", currency: "ZAR" } }) '
    "{ paymentInitiation { id } } }"
)
SHAPES = ["401", "200", "200-nested"]


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_query_is_repeated_with_a_new_token(
    api: Api, connection_id: str, bank: SandboxClient, shape: str
) -> None:
    await bank.set_faults(unauthenticated_shape=shape)
    await bank.control("expire")
    response = await api.query(connection_id)
    assert response.status_code == 200
    assert response.json()["data"]["user"]["id"]
    assert response.headers["broker-token-version"] == "2"
    totals = (await bank.ledger()).totals
    assert totals.token_requests["refresh_token"] == {"ok": 1}
    assert totals.graphql_requests == {"ok": 1, "unauthenticated": 1}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_mutation_is_repeated_and_run_once(
    api: Api, connection_id: str, bank: SandboxClient, shape: str
) -> None:
    await bank.set_faults(unauthenticated_shape=shape)
    await bank.control("expire")
    response = await api.query(connection_id, PAYMENT)
    assert response.json()["data"]["userInitiatePayment"]["paymentInitiation"]["id"]
    totals = (await bank.ledger()).totals
    assert totals.payments == 1
    assert totals.graphql_requests == {"ok": 1, "unauthenticated": 1}


async def test_a_token_that_is_about_to_expire_is_refreshed_before_it_is_used(
    api: Api, broker: Broker, bank: SandboxClient
) -> None:
    connection = await broker.rows.link(bank, tenant=api.tenant, seconds_left=29)
    assert (await api.query(connection.id)).headers["broker-token-version"] == "2"
    totals = (await bank.ledger()).totals
    assert totals.graphql_requests == {"ok": 1}


async def test_a_token_with_time_left_is_not_refreshed(api: Api, broker: Broker, bank: SandboxClient) -> None:
    connection = await broker.rows.link(bank, tenant=api.tenant, seconds_left=60)
    assert (await api.query(connection.id)).headers["broker-token-version"] == "1"
    assert await refreshes_at(bank) == 0


class TestResponseShapes:
    """Scripted responses, because the sandbox does not compress such short ones."""

    @pytest.fixture
    async def proxied(self, proxy: Broker, sign_up: ApiFactory) -> Api:
        return await sign_up(broker=proxy)

    @pytest.fixture
    async def linked(self, proxy: Broker, proxied: Api, bank: SandboxClient) -> str:
        return (await proxy.rows.link(bank, tenant=proxied.tenant)).id

    @staticmethod
    def once(upstream: HostileServer, first: Reply) -> None:
        """Respond to the first request with `first`, and to later ones with data."""
        replies = iter([first])
        upstream.replies["/graphql"] = lambda: next(replies, json_reply(DATA))

    @pytest.mark.parametrize("rejection", [TOP_LEVEL, NESTED, {"data": None, **NESTED}], ids=["top", "nested", "null"])
    @pytest.mark.parametrize(
        "content_type", ["application/json", "application/graphql-response+json; charset=utf-8", "Application/JSON"]
    )
    @pytest.mark.parametrize("encoding", ["identity", "gzip"])
    async def test_a_rejected_token_is_recognised(
        self,
        *,
        proxied: Api,
        linked: str,
        upstream: HostileServer,
        bank: SandboxClient,
        rejection: dict[str, Any],
        content_type: str,
        encoding: str,
    ) -> None:
        body = json.dumps(rejection).encode()
        compressed = gzip.compress(body) if encoding == "gzip" else body
        self.once(upstream, reply(compressed, content_type=content_type, content_encoding=encoding))
        response = await proxied.query(linked)
        assert response.json() == DATA
        assert response.headers["broker-token-version"] == "2"
        assert await refreshes_at(bank) == 1
        tokens = [headers["authorization"] for _, headers, _ in upstream.received]
        assert len(set(tokens)) == 2

    @pytest.mark.parametrize("query", ["mutation { a }", "query A { a } mutation B { b }"])
    async def test_a_mutation_that_may_have_run_is_not_repeated_but_the_token_is_replaced(
        self, proxied: Api, linked: str, upstream: HostileServer, bank: SandboxClient, query: str
    ) -> None:
        self.once(upstream, json_reply(FIELD_ERROR))
        response = await proxied.query(linked, query)
        assert response.json() == FIELD_ERROR
        assert upstream.count("/graphql") == 1
        assert await refreshes_at(bank) == 1
        assert (await proxied.query(linked, query)).headers["broker-token-version"] == "2"

    async def test_a_mutation_that_may_have_run_gets_the_banks_response_even_if_the_refresh_fails(
        self, proxied: Api, linked: str, upstream: HostileServer, bank: SandboxClient
    ) -> None:
        self.once(upstream, json_reply(FIELD_ERROR))
        await bank.set_faults(token={"error": "temporarily_unavailable", "status": 503})
        assert (await proxied.query(linked, "mutation { a }")).json() == FIELD_ERROR
        assert upstream.count("/graphql") == 1

    async def test_a_mutation_that_cannot_be_parsed_in_time_gets_the_banks_response(
        self, proxied: Api, linked: str, upstream: HostileServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @asynccontextmanager
        async def busy(*_: object) -> AsyncIterator[None]:
            raise BrokerUnavailable("the queue is full", code="too_many_queries")
            yield

        monkeypatch.setattr("app.query.fair_queue.FairQueue.turn", busy)
        self.once(upstream, json_reply(FIELD_ERROR))
        assert (await proxied.query(linked, "mutation { pay }")).json() == FIELD_ERROR
        assert upstream.count("/graphql") == 1

    async def test_a_query_with_a_rejected_field_is_repeated(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        self.once(upstream, json_reply(FIELD_ERROR))
        assert (await proxied.query(linked)).json() == DATA

    async def test_a_rejection_in_chunks_is_recognised(
        self, proxied: Api, linked: str, upstream: HostileServer, bank: SandboxClient
    ) -> None:
        body = json.dumps(TOP_LEVEL).encode()
        head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n"
            b"connection: close\r\n\r\n"
        )
        pieces = b"".join(chunk(body[start : start + 7]) for start in range(0, len(body), 7))
        self.once(upstream, Reply(head + pieces + chunk(b"")))
        assert (await proxied.query(linked)).json() == DATA
        assert await refreshes_at(bank) == 1

    @pytest.mark.parametrize("body", [b"", b"Unauthorized", b"x" * 100_000])
    async def test_a_401_is_a_rejection_whatever_its_body(
        self, proxied: Api, linked: str, upstream: HostileServer, bank: SandboxClient, body: bytes
    ) -> None:
        self.once(upstream, reply(body, "401 Unauthorized", content_type="text/plain"))
        assert (await proxied.query(linked)).json() == DATA
        assert await refreshes_at(bank) == 1

    @pytest.mark.parametrize(
        "body",
        [
            {"data": {"message": "UNAUTHENTICATED"}},
            {"errors": [{"message": "UNAUTHENTICATED"}]},
            {"errors": [{"message": "x", "extensions": {"code": "FORBIDDEN"}}]},
            {"errors": [{"message": "x", "extensions": {"reason": "UNAUTHENTICATED"}}]},
            {"errors": "UNAUTHENTICATED"},
            {"extensions": "UNAUTHENTICATED"},
            ["UNAUTHENTICATED"],
        ],
        ids=str,
    )
    async def test_a_response_that_only_resembles_a_rejection_refreshes_nothing(
        self, proxied: Api, linked: str, upstream: HostileServer, bank: SandboxClient, body: object
    ) -> None:
        upstream.replies["/graphql"] = json_reply(body)
        assert (await proxied.query(linked)).json() == body
        assert await refreshes_at(bank) == 0
        assert upstream.count("/graphql") == 1

    async def test_a_batch_that_is_rejected_entirely_is_recognised(
        self, proxied: Api, linked: str, upstream: HostileServer, bank: SandboxClient
    ) -> None:
        self.once(upstream, json_reply([NESTED, NESTED]))
        batch = [{"query": "{ a }"}, {"query": "{ b }"}]
        response = await proxied.post(f"/v1/connections/{linked}/graphql", json=batch)
        assert response.json() == DATA
        assert await refreshes_at(bank) == 1

    async def test_a_second_rejection_is_returned(
        self, proxied: Api, linked: str, upstream: HostileServer, bank: SandboxClient
    ) -> None:
        upstream.replies["/graphql"] = json_reply(NESTED, 401)
        response = await proxied.query(linked)
        assert (response.status_code, response.json()) == (401, NESTED)
        assert upstream.count("/graphql") == 2
        assert await refreshes_at(bank) == 1

    async def test_a_bank_that_rejects_every_token_is_not_asked_for_ever_more_tokens(
        self, proxied: Api, linked: str, upstream: HostileServer, bank: SandboxClient
    ) -> None:
        upstream.replies["/graphql"] = json_reply(NESTED)
        responses = [await proxied.query(linked) for _ in range(12)]
        assert {response.status_code for response in responses} == {200}
        assert all(response.json() == NESTED for response in responses)
        assert await refreshes_at(bank) <= 6


async def test_tokens_that_the_bank_accepted_once_are_refreshed_however_soon_they_expire(
    api: Api, connection_id: str, bank: SandboxClient
) -> None:
    for _ in range(8):
        await bank.control("expire")
        response = await api.query(connection_id)
        assert response.json()["data"]["user"]["id"]
    assert await refreshes_at(bank) == 8
