"""`/v1/connections`: linked accounts, their tokens, renewal and revocation."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.store.enums import ConnectionStatus
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker, Browser, served
from tests.support.error_responses import assert_graphql_error, assert_problem
from tests.support.journey import log_in

FIELDS = {
    *("id", "status", "user_id", "scopes", "subject", "version", "refreshable", "access_token_expires_at"),
    *("created_at", "last_refreshed_at", "last_used_at", "reauthorization_reason", "metadata"),
}
WITHOUT_REFRESH_TOKEN = "openid accounts"
# A broker with this address gets no notifications, so it only knows of its own changes.
UNREACHABLE = SecretStr("postgresql://nobody@127.0.0.1:1/nowhere")


class TestShow:
    async def test_a_connection_has_every_field(self, api: Api, bank: SandboxClient, browser: Browser) -> None:
        session, _ = await log_in(api, bank, browser, user_id="user-7", metadata={"order": "1001"})
        connection = await api.connection(session["connection_id"])
        assert connection.keys() == FIELDS
        assert connection["status"] == "active"
        assert connection["user_id"] == "user-7"
        assert set(connection["scopes"]) == {"openid", "accounts", "balances", "transactions", "offline_access"}
        assert connection["subject"] == await bank.sub_of("thandi")
        assert connection["version"] == 1
        assert connection["refreshable"] is True
        assert connection["metadata"] == {"order": "1001"}
        assert connection["last_refreshed_at"] is connection["reauthorization_reason"] is None
        left = datetime.fromisoformat(connection["access_token_expires_at"]) - datetime.now(UTC)
        assert timedelta(minutes=10) < left <= timedelta(minutes=15)

    async def test_the_last_use_is_stored_when_the_broker_stops_at_the_latest(
        self, api: Api, broker: Broker, connection_id: str, sign_up: ApiFactory, tmp_path: Path
    ) -> None:
        assert (await api.connection(connection_id))["last_used_at"] is None
        settings = broker.settings.model_copy(update={"data_dir": tmp_path})
        async with served(settings) as other:
            caller = await sign_up(broker=other, tenant=api.tenant)
            assert (await caller.query(connection_id)).status_code == 200
        assert (await api.connection(connection_id))["last_used_at"] is not None
        [key] = (await api.get(f"/v1/callers/{caller.caller.id}/keys")).json()["items"]
        assert key["last_used_at"] is not None

    @pytest.mark.parametrize("identifier", ["con_unknown", "%00", "%F0%9F%98%80", "x" * 500, "con'--"])
    async def test_an_unknown_connection_does_not_exist(self, api: Api, identifier: str) -> None:
        assert_problem(await api.get(f"/v1/connections/{identifier}"), 404, "connection_not_found")
        assert_problem(await api.delete(f"/v1/connections/{identifier}"), 404, "connection_not_found")
        assert_problem(await api.post(f"/v1/connections/{identifier}/refresh"), 404, "connection_not_found")
        assert_problem(await api.post(f"/v1/connections/{identifier}/token"), 404, "connection_not_found")


class TestList:
    async def test_each_connection_is_on_one_page_the_newest_first(self, api: Api, broker: Broker) -> None:
        made = [(await broker.rows.insert(tenant=api.tenant)).id for _ in range(5)]
        seen: list[str] = []
        query = {"limit": "2"}
        while True:
            page = (await api.get("/v1/connections", params=query)).json()
            seen += [connection["id"] for connection in page["items"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert seen == made[::-1]

    async def test_the_list_is_filtered_by_user_and_status(self, api: Api, broker: Broker) -> None:
        mine = await broker.rows.insert(tenant=api.tenant, user_id="mine")
        other = await broker.rows.insert(tenant=api.tenant, user_id="other")
        await broker.rows.change_connection(other.id, status=ConnectionStatus.REAUTHORIZATION_REQUIRED)

        async def ids(**query: str) -> list[str]:
            return [item["id"] for item in (await api.get("/v1/connections", params=query)).json()["items"]]

        assert await ids(user_id="mine") == [mine.id]
        assert await ids(status="reauthorization_required") == [other.id]
        assert await ids(status="active", user_id="other") == []
        assert await ids() == [other.id, mine.id]

    async def test_items_are_complete_connections(self, api: Api, connection_id: str) -> None:
        page = (await api.get("/v1/connections")).json()
        assert page == {"items": [await api.connection(connection_id)], "next_cursor": None}

    @pytest.mark.parametrize("query", ["limit=0", "limit=201", "status=lost", "user_id=%00"])
    async def test_an_invalid_filter_is_rejected(self, api: Api, query: str) -> None:
        assert_problem(await api.get(f"/v1/connections?{query}"), 422, "invalid_request")


class TestOwnWrites:
    """A broker applies its own changes at once, even without notifications."""

    async def test_a_connection_of_an_erased_user_is_unusable_at_once(
        self, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
    ) -> None:
        broker = await brokers(database_listen_url=UNREACHABLE, cache_ttl=300)
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant)
        assert (await api.query(connection.id)).status_code == 200
        assert (await api.delete("/v1/users/user-1")).status_code == 204
        assert_graphql_error(await api.query(connection.id), 409, "CONNECTION_REVOKED")

    async def test_a_confirmed_connection_is_usable_at_once(
        self, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
    ) -> None:
        broker = await brokers(database_listen_url=UNREACHABLE, cache_ttl=300)
        api = await sign_up(broker=broker)
        async with broker.new_browser() as browser:
            session, shown = await log_in(api, bank, browser, require_confirmation=True)
        assert_graphql_error(await api.query(session["connection_id"]), 409, "CONNECTION_NOT_READY")
        code = shown.text.partition("<code>")[2].partition("</code>")[0]
        await api.post(f"/v1/sessions/{session['id']}/confirm", json={"confirmation_code": code})
        assert (await api.query(session["connection_id"])).status_code == 200

    async def test_a_renewed_connection_uses_its_new_token_at_once(
        self, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
    ) -> None:
        broker = await brokers(database_listen_url=UNREACHABLE, cache_ttl=300)
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant)
        await api.query(connection.id)
        async with broker.new_browser() as browser:
            await log_in(api, bank, browser, connection_id=connection.id)
        assert (await api.query(connection.id)).headers["broker-token-version"] == "2"

    async def test_a_revoked_key_is_rejected_at_once(self, brokers: BrokerFactory, sign_up: ApiFactory) -> None:
        broker = await brokers(database_listen_url=UNREACHABLE, cache_ttl=300)
        admin = await sign_up(broker=broker)
        other = await sign_up(broker=broker, tenant=admin.tenant)
        assert (await other.get("/v1/connections")).status_code == 200
        await admin.delete(f"/v1/callers/{other.caller.id}")
        assert_problem(await other.get("/v1/connections"), 401, "unauthorized_caller")
