"""An expired token: one refresh, one repeat."""

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.errors import BrokerUnavailable
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.answers import assert_graphql_refusal
from tests.support.bank import refreshes_at
from tests.support.broker import Api, Broker
from tests.support.hostile import HostileServer, Reply, json_reply
from tests.support.upstream import chunk, reply

MESSAGE = "UNAUTHENTICATED: Token is expired or malformed"
TOP_LEVEL = {"errors": [{"message": MESSAGE}], "extensions": {"code": "UNAUTHENTICATED"}}
NESTED = {"errors": [{"message": MESSAGE, "extensions": {"code": "UNAUTHENTICATED"}}]}
OF_A_FIELD = {"data": None, "errors": [{"path": ["a"], "extensions": {"code": "UNAUTHENTICATED"}}]}
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
    answer = await api.query(connection_id)
    assert answer.status_code == 200
    assert answer.json()["data"]["user"]["id"]
    assert answer.headers["broker-token-version"] == "2"
    totals = (await bank.ledger()).totals
    assert totals.token_requests["refresh_token"] == {"ok": 1}
    assert totals.graphql_requests == {"ok": 1, "unauthenticated": 1}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_mutation_is_repeated_and_run_once(
    api: Api, connection_id: str, bank: SandboxClient, shape: str
) -> None:
    await bank.set_faults(unauthenticated_shape=shape)
    await bank.control("expire")
    answer = await api.query(connection_id, PAYMENT)
    assert answer.json()["data"]["userInitiatePayment"]["paymentInitiation"]["id"]
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


class TestShapes:
    """Written by hand, as the sandbox does not compress such short answers."""

    @pytest.fixture
    async def proxied(self, proxy: Broker, sign_up: ApiFactory) -> Api:
        return await sign_up(broker=proxy)

    @pytest.fixture
    async def linked(self, proxy: Broker, proxied: Api, bank: SandboxClient) -> str:
        return (await proxy.rows.link(bank, tenant=proxied.tenant)).id

    @staticmethod
    def once(upstream: HostileServer, first: Reply) -> None:
        """Answer the first request so, and later ones with data."""
        replies = iter([first])
        upstream.replies["/graphql"] = lambda: next(replies, json_reply(DATA))

    @pytest.mark.parametrize("refusal", [TOP_LEVEL, NESTED, {"data": None, **NESTED}], ids=["top", "nested", "null"])
    @pytest.mark.parametrize(
        "content_type", ["application/json", "application/graphql-response+json; charset=utf-8", "Application/JSON"]
    )
    @pytest.mark.parametrize("encoding", ["identity", "gzip"])
    async def test_a_refusal_is_recognised(
        self,
        *,
        proxied: Api,
        linked: str,
        upstream: HostileServer,
        bank: SandboxClient,
        refusal: dict[str, Any],
        content_type: str,
        encoding: str,
    ) -> None:
        body = json.dumps(refusal).encode()
        compressed = gzip.compress(body) if encoding == "gzip" else body
        self.once(upstream, reply(compressed, content_type=content_type, content_encoding=encoding))
        answer = await proxied.query(linked)
        assert answer.json() == DATA
        assert answer.headers["broker-token-version"] == "2"
        assert await refreshes_at(bank) == 1
        tokens = [headers["authorization"] for _, headers, _ in upstream.received]
        assert len(set(tokens)) == 2

    @pytest.mark.parametrize("query", ["mutation { a }", "query A { a } mutation B { b }"])
    async def test_a_mutation_that_may_have_run_is_not_repeated_but_the_token_is_replaced(
        self, proxied: Api, linked: str, upstream: HostileServer, bank: SandboxClient, query: str
    ) -> None:
        self.once(upstream, json_reply(OF_A_FIELD))
        answer = await proxied.query(linked, query)
        assert answer.json() == OF_A_FIELD
        assert upstream.count("/graphql") == 1
        assert await refreshes_at(bank) == 1
        assert (await proxied.query(linked, query)).headers["broker-token-version"] == "2"

    async def test_a_mutation_that_may_have_run_has_the_banks_answer_also_where_no_refresh_can_be(
        self, proxied: Api, linked: str, upstream: HostileServer, bank: SandboxClient
    ) -> None:
        self.once(upstream, json_reply(OF_A_FIELD))
        await bank.set_faults(token={"error": "temporarily_unavailable", "status": 503})
        assert (await proxied.query(linked, "mutation { a }")).json() == OF_A_FIELD
        assert upstream.count("/graphql") == 1

    async def test_a_mutation_that_nobody_has_time_to_look_into_has_the_banks_answer(
        self, proxied: Api, linked: str, upstream: HostileServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @asynccontextmanager
        async def busy(*_: object) -> AsyncIterator[None]:
            raise BrokerUnavailable("others have their turn", code="too_many_queries")
            yield

        monkeypatch.setattr("app.query.fair_queue.FairQueue.turn", busy)
        self.once(upstream, json_reply(OF_A_FIELD))
        assert (await proxied.query(linked, "mutation { payOnce }")).json() == OF_A_FIELD
        assert upstream.count("/graphql") == 1

    async def test_a_query_of_which_a_field_was_refused_is_repeated(
        self, proxied: Api, linked: str, upstream: HostileServer
    ) -> None:
        self.once(upstream, json_reply(OF_A_FIELD))
        assert (await proxied.query(linked)).json() == DATA

    async def test_a_refusal_in_chunks_is_recognised(
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
    async def test_a_401_is_a_refusal_whatever_it_says(
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
    async def test_what_only_sounds_like_a_refusal_refreshes_nothing(
        self, proxied: Api, linked: str, upstream: HostileServer, bank: SandboxClient, body: object
    ) -> None:
        upstream.replies["/graphql"] = json_reply(body)
        assert (await proxied.query(linked)).json() == body
        assert await refreshes_at(bank) == 0
        assert upstream.count("/graphql") == 1

    async def test_a_batch_that_is_refused_throughout_is_recognised(
        self, proxied: Api, linked: str, upstream: HostileServer, bank: SandboxClient
    ) -> None:
        self.once(upstream, json_reply([NESTED, NESTED]))
        batch = [{"query": "{ a }"}, {"query": "{ b }"}]
        answer = await proxied.post(f"/v1/connections/{linked}/graphql", json=batch)
        assert answer.json() == DATA
        assert await refreshes_at(bank) == 1

    async def test_a_second_refusal_passes_through(
        self, proxied: Api, linked: str, upstream: HostileServer, bank: SandboxClient
    ) -> None:
        upstream.replies["/graphql"] = json_reply(NESTED, 401)
        answer = await proxied.query(linked)
        assert (answer.status_code, answer.json()) == (401, NESTED)
        assert upstream.count("/graphql") == 2
        assert await refreshes_at(bank) == 1

    async def test_a_bank_that_refuses_every_token_is_not_asked_for_ever_more(
        self, proxied: Api, linked: str, upstream: HostileServer, bank: SandboxClient
    ) -> None:
        upstream.replies["/graphql"] = json_reply(NESTED)
        answers = [await proxied.query(linked) for _ in range(12)]
        assert {answer.status_code for answer in answers} == {200}
        assert all(answer.json() == NESTED for answer in answers)
        assert await refreshes_at(bank) <= 6


async def test_tokens_that_the_bank_first_takes_are_replaced_however_soon_they_expire(
    api: Api, connection_id: str, bank: SandboxClient
) -> None:
    for _ in range(8):
        await bank.control("expire")
        answer = await api.query(connection_id)
        assert answer.json()["data"]["user"]["id"]
    assert await refreshes_at(bank) == 8


class TestConsentThatEnded:
    async def test_the_user_must_consent_again(self, api: Api, connection_id: str, bank: SandboxClient) -> None:
        await bank.control("revoke-consent", sub=await bank.sub_of("thandi"))
        for _ in range(2):
            extensions = assert_graphql_refusal(await api.query(connection_id), 409, "REAUTHORIZATION_REQUIRED")
            assert extensions["reason"] == "reauthorization_required"
        assert (await bank.ledger()).totals.token_requests["refresh_token"] == {"invalid_grant": 1}

    async def test_without_a_refresh_token_the_end_is_the_end(
        self, api: Api, broker: Broker, bank: SandboxClient
    ) -> None:
        connection = await broker.rows.link(bank, tenant=api.tenant, scope="openid accounts")
        await bank.control("expire")
        assert_graphql_refusal(await api.query(connection.id), 409, "REAUTHORIZATION_REQUIRED")
        assert (await api.connection(connection.id))["reauthorization_reason"] == "not_refreshable"


class TestRefreshThatFails:
    """Each test has a broker of its own: it leaves a failing bank alone, for all connections."""

    @pytest.mark.parametrize(
        ("fault", "status", "code", "reason"),
        [
            ({"status": 503}, 502, "BANK_UNAVAILABLE", "bank_failed"),
            ({"error": "invalid_client"}, 502, "BANK_UNAVAILABLE", "bank_refused_client"),
            ({"garbage": True}, 502, "BANK_UNAVAILABLE", "bank_bad_answer"),
            ({"hang": 5}, 504, "BANK_TIMEOUT", "bank_outcome_unknown"),
        ],
    )
    async def test_the_cause_is_told_and_the_connection_stays(
        self,
        *,
        brokers: BrokerFactory,
        sign_up: ApiFactory,
        bank: SandboxClient,
        fault: dict[str, Any],
        status: int,
        code: str,
        reason: str,
    ) -> None:
        broker = await brokers(**({"refresh_deadline": 0.5, "refresh_lease": 1} if "hang" in fault else {}))
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant)
        await bank.control("expire")
        await bank.set_faults(token=fault)
        extensions = assert_graphql_refusal(await api.query(connection.id), status, code)
        assert extensions["reason"] == reason
        assert (await api.connection(connection.id))["status"] == "active"

    async def test_the_wish_of_a_bank_that_wants_fewer_requests_is_passed_on(
        self, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
    ) -> None:
        broker = await brokers()
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant)
        await bank.control("expire")
        await bank.set_faults(token={"status": 429, "retry_after": 7})
        answer = await api.query(connection.id)
        assert answer.headers["retry-after"] == "7"
        extensions = assert_graphql_refusal(answer, 502, "BANK_UNAVAILABLE")
        assert (extensions["reason"], extensions["retry_after"]) == ("bank_rate_limited", 7)

    async def test_a_token_that_is_still_good_is_used_meanwhile(
        self, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
    ) -> None:
        broker = await brokers()
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant, seconds_left=25)
        await bank.set_faults(token={"status": 503})
        answer = await api.query(connection.id)
        assert answer.json()["data"]
        assert answer.headers["broker-token-version"] == "1"
