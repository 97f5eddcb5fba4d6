"""Queries whose token has expired and cannot be refreshed."""

from typing import Any

import pytest

from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker
from tests.support.error_responses import assert_graphql_error


class TestEndedConsent:
    async def test_the_user_must_consent_again(self, api: Api, connection_id: str, bank: SandboxClient) -> None:
        await bank.control("revoke-consent", sub=await bank.sub_of("thandi"))
        for _ in range(2):
            extensions = assert_graphql_error(await api.query(connection_id), 409, "REAUTHORIZATION_REQUIRED")
            assert extensions["reason"] == "reauthorization_required"
        assert (await bank.ledger()).totals.token_requests["refresh_token"] == {"invalid_grant": 1}

    async def test_without_a_refresh_token_the_connection_ends_with_its_token(
        self, api: Api, broker: Broker, bank: SandboxClient
    ) -> None:
        connection = await broker.rows.link(bank, tenant=api.tenant, scope="openid accounts")
        await bank.control("expire")
        assert_graphql_error(await api.query(connection.id), 409, "REAUTHORIZATION_REQUIRED")
        assert (await api.connection(connection.id))["reauthorization_reason"] == "not_refreshable"


class TestFailedRefresh:
    """Each test has its own broker, whose circuit breaker opens for all connections."""

    @pytest.mark.parametrize(
        ("fault", "status", "code", "reason"),
        [
            ({"status": 503}, 502, "BANK_UNAVAILABLE", "bank_failed"),
            ({"error": "invalid_client"}, 502, "BANK_UNAVAILABLE", "bank_refused_client"),
            ({"garbage": True}, 502, "BANK_UNAVAILABLE", "bank_bad_answer"),
            ({"hang": 5}, 504, "BANK_TIMEOUT", "bank_outcome_unknown"),
        ],
    )
    async def test_the_cause_is_returned_and_the_connection_stays_active(
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
        broker = await brokers(**({"refresh_deadline": 0.5, "refresh_lease": 10} if "hang" in fault else {}))
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant)
        await bank.control("expire")
        await bank.set_faults(token=fault)
        extensions = assert_graphql_error(await api.query(connection.id), status, code)
        assert extensions["reason"] == reason
        assert (await api.connection(connection.id))["status"] == "active"

    async def test_the_retry_after_of_a_bank_that_limits_requests_is_returned(
        self, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
    ) -> None:
        broker = await brokers()
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant)
        await bank.control("expire")
        await bank.set_faults(token={"status": 429, "retry_after": 7})
        response = await api.query(connection.id)
        assert response.headers["retry-after"] == "7"
        extensions = assert_graphql_error(response, 502, "BANK_UNAVAILABLE")
        assert (extensions["reason"], extensions["retry_after"]) == ("bank_rate_limited", 7)

    async def test_a_token_that_is_still_valid_is_used_meanwhile(
        self, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
    ) -> None:
        broker = await brokers()
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant, seconds_left=25)
        await bank.set_faults(token={"status": 503})
        response = await api.query(connection.id)
        assert response.json()["data"]
        assert response.headers["broker-token-version"] == "1"
