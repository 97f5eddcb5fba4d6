"""Ending connections, and erasing users."""

import pytest

from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.bank import living_families_at
from tests.support.broker import Api, Broker, Browser
from tests.support.error_responses import assert_graphql_error, assert_problem
from tests.support.eventually import eventually
from tests.support.journey import log_in


class TestDisconnect:
    async def test_a_connection_ends_at_the_broker_and_at_the_bank(
        self, api: Api, broker: Broker, connection_id: str, bank: SandboxClient
    ) -> None:
        assert (await api.query(connection_id)).json()["data"]
        response = await api.delete(f"/v1/connections/{connection_id}")
        assert (response.status_code, response.content) == (204, b"")
        assert_graphql_error(await api.query(connection_id), 409, "CONNECTION_REVOKED")
        assert_problem(await api.post(f"/v1/connections/{connection_id}/token"), 409, "connection_revoked")
        assert_problem(await api.post(f"/v1/connections/{connection_id}/refresh"), 409, "connection_revoked")
        assert await living_families_at(bank) == 0
        assert (await broker.rows.stored(connection_id)).tokens is None

    async def test_a_revoked_connection_stays_in_the_list(self, api: Api, connection_id: str) -> None:
        await api.delete(f"/v1/connections/{connection_id}")
        [tombstone] = (await api.get("/v1/connections?status=revoked")).json()["items"]
        assert tombstone["id"] == connection_id
        assert tombstone["status"] == "revoked"
        assert tombstone["refreshable"] is False
        assert tombstone["access_token_expires_at"] is None

    async def test_disconnecting_again_is_no_error(self, api: Api, connection_id: str, bank: SandboxClient) -> None:
        for _ in range(2):
            assert (await api.delete(f"/v1/connections/{connection_id}")).status_code == 204
        actions = [event["action"] for event in (await api.get("/v1/audit")).json()["items"]]
        assert actions.count("connection.revoked") == 1

    async def test_a_connection_is_revoked_at_the_bank_once_the_bank_is_back(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        await bank.set_faults(revocation={"status": 503})
        assert (await api.delete(f"/v1/connections/{connection_id}")).status_code == 204
        assert_graphql_error(await api.query(connection_id), 409, "CONNECTION_REVOKED")
        assert await living_families_at(bank) == 1
        await bank.set_faults(revocation=None)

        async def is_revoked() -> bool:
            return await living_families_at(bank) == 0

        await eventually(is_revoked)

    async def test_another_replica_rejects_it_too(
        self, api: Api, connection_id: str, brokers: BrokerFactory, sign_up: ApiFactory
    ) -> None:
        elsewhere = await sign_up(broker=await brokers(cache_ttl=300), tenant=api.tenant)
        assert (await elsewhere.query(connection_id)).json()["data"]
        await api.delete(f"/v1/connections/{connection_id}")

        async def is_refused() -> bool:
            return (await elsewhere.query(connection_id)).status_code == 409

        await eventually(is_refused)


class TestUsers:
    async def test_all_data_of_a_user_is_erased(
        self, api: Api, broker: Broker, bank: SandboxClient, browser: Browser
    ) -> None:
        session, _ = await log_in(api, bank, browser, user_id="leaver", metadata={"name": "L. Eaver"})
        pending = await api.start(user_id="leaver")
        stays = await broker.rows.link(bank, tenant=api.tenant, user_id="stayer", username="johan")
        response = await api.delete("/v1/users/leaver")
        assert (response.status_code, response.content) == (204, b"")
        for erased in (session, pending):
            assert_problem(await api.get(f"/v1/sessions/{erased['id']}"), 404, "session_not_found")
        tombstone = await api.connection(session["connection_id"])
        assert tombstone["status"] == "revoked"
        assert tombstone["metadata"] == {}
        assert tombstone["subject"] == ""
        assert (await browser.open(pending["connect_url"])).status_code == 404
        assert (await api.connection(stays.id))["status"] == "active"
        assert [family.sub for family in (await bank.ledger()).families if family.alive] == [await bank.sub_of("johan")]

    async def test_erasing_an_unknown_user_is_no_error(self, api: Api) -> None:
        for _ in range(2):
            assert (await api.delete("/v1/users/nobody")).status_code == 204

    async def test_the_user_of_another_tenant_with_the_same_id_is_not_erased(
        self, api: Api, stranger: Api, broker: Broker, connection_id: str
    ) -> None:
        await stranger.delete("/v1/users/user-1")
        assert (await api.connection(connection_id))["status"] == "active"

    @pytest.mark.parametrize("user_id", ["a/b", "a b", "é", "%2e%2e", "a?b#c", "https://id.example/42"])
    async def test_a_user_with_any_id_can_be_erased(self, api: Api, broker: Broker, user_id: str) -> None:
        connection = await broker.rows.insert(tenant=api.tenant, user_id=user_id)
        quoted = "".join(f"%{byte:02X}" for byte in user_id.encode())
        response = await api.delete(f"/v1/users/{quoted}")
        assert response.status_code == 204
        assert (await api.connection(connection.id))["status"] == "revoked"

    @pytest.mark.parametrize("user_id", ["%00", "x" * 256])
    async def test_an_invalid_user_id_is_rejected(self, api: Api, user_id: str) -> None:
        assert_problem(await api.delete(f"/v1/users/{user_id}"), 422, "invalid_request")
