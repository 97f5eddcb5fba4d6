"""`/v1/connections/{id}/refresh` and `/token`."""

import asyncio
from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.bank import refreshes_at
from tests.support.broker import EVERYTHING, Api, Broker
from tests.support.error_responses import assert_problem

WITHOUT_REFRESH_TOKEN = "openid accounts"


class TestRefresh:
    async def test_a_refresh_returns_the_next_version(self, api: Api, connection_id: str, bank: SandboxClient) -> None:
        response = await api.post(f"/v1/connections/{connection_id}/refresh")
        assert response.status_code == 200
        assert response.json()["version"] == 2
        assert response.json()["last_refreshed_at"] is not None
        assert response.json() == await api.connection(connection_id)
        assert await refreshes_at(bank) == 1

    async def test_an_old_version_is_not_refreshed_again(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        for _ in range(2):
            response = await api.post(f"/v1/connections/{connection_id}/refresh", json={"version": 1})
            assert response.json()["version"] == 2
        assert await refreshes_at(bank) == 1

    async def test_a_future_version_is_not_refreshed(self, api: Api, connection_id: str, bank: SandboxClient) -> None:
        response = await api.post(f"/v1/connections/{connection_id}/refresh", json={"version": 7})
        assert response.json()["version"] == 1
        assert await refreshes_at(bank) == 0

    async def test_concurrent_calls_for_one_version_make_one_refresh(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        path = f"/v1/connections/{connection_id}/refresh"
        responses = await asyncio.gather(*(api.post(path, json={"version": 1}) for _ in range(20)))
        assert {response.json()["version"] for response in responses} == {2}
        assert await refreshes_at(bank) == 1

    @pytest.mark.parametrize("body", [{"version": 0}, {"version": 2**31}, {"version": "x"}, {"more": 1}, []])
    async def test_an_invalid_request_is_rejected(self, api: Api, connection_id: str, body: object) -> None:
        response = await api.post(f"/v1/connections/{connection_id}/refresh", json=body)
        assert_problem(response, 422, "invalid_request")

    async def test_a_consent_that_the_bank_has_ended_requires_a_new_one(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        await bank.control("revoke-consent", sub=await bank.sub_of("thandi"))
        response = await api.post(f"/v1/connections/{connection_id}/refresh")
        assert_problem(response, 409, "reauthorization_required")
        connection = await api.connection(connection_id)
        assert connection["status"] == "reauthorization_required"
        assert connection["reauthorization_reason"] == "invalid_grant"

    async def test_refreshing_a_connection_without_a_refresh_token_keeps_its_valid_token(
        self, api: Api, broker: Broker, bank: SandboxClient
    ) -> None:
        connection = await broker.rows.link(bank, tenant=api.tenant, scope=WITHOUT_REFRESH_TOKEN)
        response = await api.post(f"/v1/connections/{connection.id}/refresh")
        assert 400 <= response.status_code < 500
        assert (await api.connection(connection.id))["status"] == "active"
        assert (await api.query(connection.id)).json()["data"]


class TestFailingBank:
    """Each test has its own broker, whose circuit breaker opens for all connections."""

    @pytest.mark.parametrize(
        ("fault", "status", "code"),
        [
            ({"status": 503}, 502, "bank_failed"),
            ({"error": "invalid_client"}, 502, "bank_refused_client"),
            ({"garbage": True}, 502, "bank_bad_answer"),
            ({"error": "invalid_request"}, 502, "bank_refused_request"),
            ({"redirect": "http://127.0.0.1:1/"}, 502, "bank_bad_answer"),
        ],
    )
    async def test_a_failed_refresh_keeps_the_tokens(
        self,
        *,
        brokers: BrokerFactory,
        sign_up: ApiFactory,
        bank: SandboxClient,
        fault: dict[str, JsonValue],
        status: int,
        code: str,
    ) -> None:
        broker = await brokers()
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant)
        await bank.set_faults(token=fault)
        assert_problem(await api.post(f"/v1/connections/{connection.id}/refresh"), status, code)
        await bank.set_faults(token=None)
        shown = await api.connection(connection.id)
        assert (shown["status"], shown["version"]) == ("active", 1)
        assert (await api.query(connection.id)).json()["data"]

    async def test_the_retry_after_of_a_bank_that_limits_requests_is_respected(
        self, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
    ) -> None:
        broker = await brokers()
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant)
        await bank.set_faults(token={"status": 429, "retry_after": 120})
        response = await api.post(f"/v1/connections/{connection.id}/refresh")
        assert response.headers["retry-after"] == "120"
        assert response.json()["code"] == "bank_rate_limited"
        again = await api.post(f"/v1/connections/{connection.id}/refresh")
        assert 100 < int(again.headers["retry-after"]) <= 120
        assert (await bank.ledger()).totals.answered_by_fault["token"] == 1
        assert (await api.connection(connection.id))["status"] == "active"


class TestToken:
    async def test_a_token_is_returned_with_its_scope_and_expiry_time(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        response = await api.post(f"/v1/connections/{connection_id}/token")
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        token = response.json()
        assert token.keys() == {"access_token", "token_type", "expires_at", "scope", "version"}
        assert token["token_type"] == "Bearer"
        assert token["version"] == 1
        assert "offline_access" in token["scope"].split()
        assert datetime.fromisoformat(token["expires_at"]) > datetime.now(UTC)
        assert (await bank.query(token["access_token"], "{ user { id } }")).json()["data"]

    async def test_tokens_are_not_returned_without_the_permission(
        self, sign_up: ApiFactory, broker: Broker, bank: SandboxClient
    ) -> None:
        api = await sign_up(permissions=[permission for permission in EVERYTHING if permission != "tokens:read"])
        connection = await broker.rows.link(bank, tenant=api.tenant)
        response = await api.post(f"/v1/connections/{connection.id}/token")
        assert_problem(response, 403, "permission_denied")
        assert "access_token" not in response.text

    async def test_a_token_with_too_little_time_left_is_refreshed_first(
        self, api: Api, broker: Broker, bank: SandboxClient
    ) -> None:
        connection = await broker.rows.link(bank, tenant=api.tenant, seconds_left=300)
        path = f"/v1/connections/{connection.id}/token"
        assert (await api.post(path, json={"min_ttl": 200})).json()["version"] == 1
        assert (await api.post(path, json={"min_ttl": 600})).json()["version"] == 2
        assert await refreshes_at(bank) == 1

    async def test_a_token_that_cannot_be_refreshed_is_kept_if_more_time_is_requested(
        self, api: Api, broker: Broker, bank: SandboxClient
    ) -> None:
        connection = await broker.rows.link(bank, tenant=api.tenant, scope=WITHOUT_REFRESH_TOKEN, seconds_left=300)
        await api.post(f"/v1/connections/{connection.id}/token", json={"min_ttl": 600})
        assert (await api.connection(connection.id))["status"] == "active"
        assert (await api.query(connection.id)).json()["data"]

    async def test_a_connection_without_a_refresh_token_ends_when_its_token_expires(
        self, api: Api, broker: Broker, bank: SandboxClient
    ) -> None:
        connection = await broker.rows.link(bank, tenant=api.tenant, scope=WITHOUT_REFRESH_TOKEN, seconds_left=-1)
        assert_problem(await api.post(f"/v1/connections/{connection.id}/token"), 409, "reauthorization_required")
        shown = await api.connection(connection.id)
        assert shown["status"] == "reauthorization_required"
        assert shown["reauthorization_reason"] == "not_refreshable"

    @pytest.mark.parametrize("body", [{"min_ttl": -1}, {"min_ttl": 86_401}, {"min_ttl": "long"}, {"more": 1}])
    async def test_an_invalid_request_is_rejected(self, api: Api, connection_id: str, body: object) -> None:
        response = await api.post(f"/v1/connections/{connection_id}/token", json=body)
        assert_problem(response, 422, "invalid_request")

    async def test_the_audit_log_says_who_got_the_token(self, api: Api, connection_id: str) -> None:
        await api.post(f"/v1/connections/{connection_id}/token")
        [event] = (await api.get(f"/v1/audit?connection_id={connection_id}")).json()["items"]
        assert (event["action"], event["actor"]) == ("token.handed_out", api.caller.id)
