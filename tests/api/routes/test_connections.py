"""`/v1/connections`: what was linked, its token, its renewal and its end."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import JsonValue, SecretStr

from app.store.enums import ConnectionStatus
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.answers import assert_graphql_refusal, assert_problem
from tests.support.bank import living_families_at, refreshes_at
from tests.support.broker import EVERYTHING, Api, Broker, Browser, served
from tests.support.eventually import eventually
from tests.support.journey import go_to_bank, log_in

FIELDS = {
    *("id", "status", "user_id", "scopes", "subject", "version", "refreshable", "access_token_expires_at"),
    *("created_at", "last_refreshed_at", "last_used_at", "reauthorization_reason", "metadata"),
}
WITHOUT_REFRESH_TOKEN = "openid accounts"
# Nobody tells this broker of changes, so all it knows of is what it does itself.
DEAF = SecretStr("postgresql://nobody@127.0.0.1:1/nowhere")


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

    async def test_use_is_written_down_at_the_latest_when_the_broker_stops(
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
    async def test_pages_give_each_connection_once_the_newest_first(self, api: Api, broker: Broker) -> None:
        made = [(await broker.rows.insert(tenant=api.tenant)).id for _ in range(5)]
        seen: list[str] = []
        query = {"limit": "2"}
        while True:
            page = (await api.get("/v1/connections", params=query)).json()
            seen += [one["id"] for one in page["items"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert seen == made[::-1]

    async def test_filters_choose_by_user_and_status(self, api: Api, broker: Broker) -> None:
        mine = await broker.rows.insert(tenant=api.tenant, user_id="mine")
        other = await broker.rows.insert(tenant=api.tenant, user_id="other")
        await broker.rows.change_connection(other.id, status=ConnectionStatus.REAUTHORIZATION_REQUIRED)

        async def found(**query: str) -> list[str]:
            return [one["id"] for one in (await api.get("/v1/connections", params=query)).json()["items"]]

        assert await found(user_id="mine") == [mine.id]
        assert await found(status="reauthorization_required") == [other.id]
        assert await found(status="active", user_id="other") == []
        assert await found() == [other.id, mine.id]

    async def test_items_are_the_connections_themselves(self, api: Api, connection_id: str) -> None:
        page = (await api.get("/v1/connections")).json()
        assert page == {"items": [await api.connection(connection_id)], "next_cursor": None}

    @pytest.mark.parametrize("query", ["limit=0", "limit=201", "status=lost", "user_id=%00"])
    async def test_a_wrong_filter_is_refused(self, api: Api, query: str) -> None:
        assert_problem(await api.get(f"/v1/connections?{query}"), 422, "invalid_request")


class TestRefresh:
    async def test_it_gives_the_next_version(self, api: Api, connection_id: str, bank: SandboxClient) -> None:
        answer = await api.post(f"/v1/connections/{connection_id}/refresh")
        assert answer.status_code == 200
        assert answer.json()["version"] == 2
        assert answer.json()["last_refreshed_at"] is not None
        assert answer.json() == await api.connection(connection_id)
        assert await refreshes_at(bank) == 1

    async def test_an_old_version_is_not_refreshed_again(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        for _ in range(2):
            answer = await api.post(f"/v1/connections/{connection_id}/refresh", json={"version": 1})
            assert answer.json()["version"] == 2
        assert await refreshes_at(bank) == 1

    async def test_a_version_to_come_refreshes_nothing(self, api: Api, connection_id: str, bank: SandboxClient) -> None:
        answer = await api.post(f"/v1/connections/{connection_id}/refresh", json={"version": 7})
        assert answer.json()["version"] == 1
        assert await refreshes_at(bank) == 0

    async def test_calls_at_once_for_one_version_make_one_refresh(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        path = f"/v1/connections/{connection_id}/refresh"
        answers = await asyncio.gather(*(api.post(path, json={"version": 1}) for _ in range(20)))
        assert {answer.json()["version"] for answer in answers} == {2}
        assert await refreshes_at(bank) == 1

    @pytest.mark.parametrize("body", [{"version": 0}, {"version": 2**31}, {"version": "x"}, {"more": 1}, []])
    async def test_a_malformed_wish_is_refused(self, api: Api, connection_id: str, body: object) -> None:
        answer = await api.post(f"/v1/connections/{connection_id}/refresh", json=body)
        assert_problem(answer, 422, "invalid_request")

    async def test_a_consent_that_the_bank_has_ended_asks_for_a_new_one(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        await bank.control("revoke-consent", sub=await bank.sub_of("thandi"))
        answer = await api.post(f"/v1/connections/{connection_id}/refresh")
        assert_problem(answer, 409, "reauthorization_required")
        connection = await api.connection(connection_id)
        assert connection["status"] == "reauthorization_required"
        assert connection["reauthorization_reason"] == "invalid_grant"

    async def test_to_refresh_what_cannot_be_refreshed_costs_no_good_token(
        self, api: Api, broker: Broker, bank: SandboxClient
    ) -> None:
        connection = await broker.rows.link(bank, tenant=api.tenant, scope=WITHOUT_REFRESH_TOKEN)
        answer = await api.post(f"/v1/connections/{connection.id}/refresh")
        assert 400 <= answer.status_code < 500
        assert (await api.connection(connection.id))["status"] == "active"
        assert (await api.query(connection.id)).json()["data"]


class TestBankThatFails:
    """Each test has a broker of its own: it leaves a failing bank alone, for all connections."""

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

    async def test_the_wish_of_a_bank_that_wants_fewer_requests_is_kept(
        self, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
    ) -> None:
        broker = await brokers()
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant)
        await bank.set_faults(token={"status": 429, "retry_after": 120})
        answer = await api.post(f"/v1/connections/{connection.id}/refresh")
        assert answer.headers["retry-after"] == "120"
        assert answer.json()["code"] == "bank_rate_limited"
        again = await api.post(f"/v1/connections/{connection.id}/refresh")
        assert 100 < int(again.headers["retry-after"]) <= 120
        assert (await bank.ledger()).totals.answered_by_fault["token"] == 1
        assert (await api.connection(connection.id))["status"] == "active"


class TestToken:
    async def test_it_is_handed_out_with_what_belongs_to_it(
        self, api: Api, connection_id: str, bank: SandboxClient
    ) -> None:
        answer = await api.post(f"/v1/connections/{connection_id}/token")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        token = answer.json()
        assert token.keys() == {"access_token", "token_type", "expires_at", "scope", "version"}
        assert token["token_type"] == "Bearer"
        assert token["version"] == 1
        assert "offline_access" in token["scope"].split()
        assert datetime.fromisoformat(token["expires_at"]) > datetime.now(UTC)
        assert (await bank.query(token["access_token"], "{ user { id } }")).json()["data"]

    async def test_it_is_off_unless_granted(self, sign_up: ApiFactory, broker: Broker, bank: SandboxClient) -> None:
        api = await sign_up(permissions=[one for one in EVERYTHING if one != "tokens:read"])
        connection = await broker.rows.link(bank, tenant=api.tenant)
        answer = await api.post(f"/v1/connections/{connection.id}/token")
        assert_problem(answer, 403, "permission_denied")
        assert "access_token" not in answer.text

    async def test_a_token_with_too_little_time_left_is_refreshed_first(
        self, api: Api, broker: Broker, bank: SandboxClient
    ) -> None:
        connection = await broker.rows.link(bank, tenant=api.tenant, seconds_left=300)
        path = f"/v1/connections/{connection.id}/token"
        assert (await api.post(path, json={"min_ttl": 200})).json()["version"] == 1
        assert (await api.post(path, json={"min_ttl": 600})).json()["version"] == 2
        assert await refreshes_at(bank) == 1

    async def test_a_token_that_cannot_be_refreshed_survives_a_wish_for_more_time(
        self, api: Api, broker: Broker, bank: SandboxClient
    ) -> None:
        connection = await broker.rows.link(bank, tenant=api.tenant, scope=WITHOUT_REFRESH_TOKEN, seconds_left=300)
        await api.post(f"/v1/connections/{connection.id}/token", json={"min_ttl": 600})
        assert (await api.connection(connection.id))["status"] == "active"
        assert (await api.query(connection.id)).json()["data"]

    async def test_the_end_of_a_token_that_cannot_be_refreshed_is_the_end_of_the_consent(
        self, api: Api, broker: Broker, bank: SandboxClient
    ) -> None:
        connection = await broker.rows.link(bank, tenant=api.tenant, scope=WITHOUT_REFRESH_TOKEN, seconds_left=-1)
        assert_problem(await api.post(f"/v1/connections/{connection.id}/token"), 409, "reauthorization_required")
        shown = await api.connection(connection.id)
        assert shown["status"] == "reauthorization_required"
        assert shown["reauthorization_reason"] == "not_refreshable"

    @pytest.mark.parametrize("body", [{"min_ttl": -1}, {"min_ttl": 86_401}, {"min_ttl": "long"}, {"more": 1}])
    async def test_a_malformed_wish_is_refused(self, api: Api, connection_id: str, body: object) -> None:
        answer = await api.post(f"/v1/connections/{connection_id}/token", json=body)
        assert_problem(answer, 422, "invalid_request")

    async def test_who_got_it_is_written_down(self, api: Api, connection_id: str) -> None:
        await api.post(f"/v1/connections/{connection_id}/token")
        [event] = (await api.get(f"/v1/audit?connection_id={connection_id}")).json()["items"]
        assert (event["action"], event["actor"]) == ("token.handed_out", api.caller.id)


class TestDisconnect:
    async def test_a_connection_ends_here_and_at_the_bank(
        self, api: Api, broker: Broker, connection_id: str, bank: SandboxClient
    ) -> None:
        assert (await api.query(connection_id)).json()["data"]
        answer = await api.delete(f"/v1/connections/{connection_id}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert_graphql_refusal(await api.query(connection_id), 409, "CONNECTION_REVOKED")
        assert_problem(await api.post(f"/v1/connections/{connection_id}/token"), 409, "connection_revoked")
        assert_problem(await api.post(f"/v1/connections/{connection_id}/refresh"), 409, "connection_revoked")
        assert await living_families_at(bank) == 0
        assert (await broker.rows.stored(connection_id)).tokens is None

    async def test_a_tombstone_stays_in_the_list(self, api: Api, connection_id: str) -> None:
        await api.delete(f"/v1/connections/{connection_id}")
        [tombstone] = (await api.get("/v1/connections?status=revoked")).json()["items"]
        assert tombstone["id"] == connection_id
        assert tombstone["status"] == "revoked"
        assert tombstone["refreshable"] is False
        assert tombstone["access_token_expires_at"] is None

    async def test_to_disconnect_again_is_no_error(self, api: Api, connection_id: str, bank: SandboxClient) -> None:
        for _ in range(2):
            assert (await api.delete(f"/v1/connections/{connection_id}")).status_code == 204
        actions = [one["action"] for one in (await api.get("/v1/audit")).json()["items"]]
        assert actions.count("connection.revoked") == 1

    async def test_a_bank_that_is_down_is_told_later(self, api: Api, connection_id: str, bank: SandboxClient) -> None:
        await bank.set_faults(revocation={"status": 503})
        assert (await api.delete(f"/v1/connections/{connection_id}")).status_code == 204
        assert_graphql_refusal(await api.query(connection_id), 409, "CONNECTION_REVOKED")
        assert await living_families_at(bank) == 1
        await bank.set_faults(revocation=None)

        async def is_revoked() -> bool:
            return await living_families_at(bank) == 0

        await eventually(is_revoked)

    async def test_another_replica_refuses_it_too(
        self, api: Api, connection_id: str, brokers: BrokerFactory, sign_up: ApiFactory
    ) -> None:
        elsewhere = await sign_up(broker=await brokers(cache_ttl=300), tenant=api.tenant)
        assert (await elsewhere.query(connection_id)).json()["data"]
        await api.delete(f"/v1/connections/{connection_id}")

        async def is_refused() -> bool:
            return (await elsewhere.query(connection_id)).status_code == 409

        await eventually(is_refused)


class TestRenewal:
    async def test_the_same_connection_goes_on_with_new_tokens(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        first, _ = await log_in(api, bank, browser)
        connection_id = first["connection_id"]
        second, _ = await log_in(api, bank, browser, connection_id=connection_id)
        assert second["status"] == "completed"
        assert second["connection_id"] == connection_id
        connection = await api.connection(connection_id)
        assert (connection["status"], connection["version"]) == ("active", 2)
        [only] = (await api.get("/v1/connections")).json()["items"]
        assert only["id"] == connection_id

    async def test_it_brings_back_what_had_ended(
        self, api: Api, broker: Broker, bank: SandboxClient, browser: Browser, connection_id: str
    ) -> None:
        await bank.control("revoke-consent", sub=await bank.sub_of("thandi"))
        await api.post(f"/v1/connections/{connection_id}/refresh")
        await log_in(api, bank, browser, connection_id=connection_id)
        connection = await api.connection(connection_id)
        assert connection["status"] == "active"
        assert connection["reauthorization_reason"] is None
        assert (await api.query(connection_id)).json()["data"]

    async def test_another_subject_is_refused_and_the_old_tokens_stay(
        self, api: Api, broker: Broker, bank: SandboxClient, browser: Browser, connection_id: str
    ) -> None:
        session, shown = await log_in(api, bank, browser, username="johan", connection_id=connection_id)
        assert session["status"] == "failed"
        assert session["error"]["code"] == "subject_mismatch"
        assert "Somebody else has linked this account" in shown.text
        connection = await api.connection(connection_id)
        assert (connection["status"], connection["version"]) == ("active", 1)
        assert (await api.query(connection_id)).json()["data"]
        johan = await bank.sub_of("johan")

        async def what_johan_granted_is_revoked() -> bool:
            return not any(family.alive for family in (await bank.ledger()).families if family.sub == johan)

        await eventually(what_johan_granted_is_revoked)

    async def test_one_that_ends_during_the_login_is_not_brought_back(
        self, api: Api, bank: SandboxClient, browser: Browser, connection_id: str
    ) -> None:
        session = await api.start(connection_id=connection_id)
        location = await go_to_bank(bank, browser, session)
        await api.delete(f"/v1/connections/{connection_id}")
        await browser.open(location)
        assert (await api.session(session["id"]))["error"]["code"] == "connection_revoked"
        assert (await api.connection(connection_id))["status"] == "revoked"


class TestUsers:
    async def test_all_that_was_a_users_is_erased(
        self, api: Api, broker: Broker, bank: SandboxClient, browser: Browser
    ) -> None:
        session, _ = await log_in(api, bank, browser, user_id="leaver", metadata={"name": "L. Eaver"})
        pending = await api.start(user_id="leaver")
        stays = await broker.rows.link(bank, tenant=api.tenant, user_id="stayer", username="johan")
        answer = await api.delete("/v1/users/leaver")
        assert (answer.status_code, answer.content) == (204, b"")
        for one in (session, pending):
            assert_problem(await api.get(f"/v1/sessions/{one['id']}"), 404, "session_not_found")
        tombstone = await api.connection(session["connection_id"])
        assert tombstone["status"] == "revoked"
        assert tombstone["metadata"] == {}
        assert tombstone["subject"] == ""
        assert (await browser.open(pending["connect_url"])).status_code == 404
        assert (await api.connection(stays.id))["status"] == "active"
        assert [family.sub for family in (await bank.ledger()).families if family.alive] == [await bank.sub_of("johan")]

    async def test_to_erase_nobody_is_no_error(self, api: Api) -> None:
        for _ in range(2):
            assert (await api.delete("/v1/users/nobody")).status_code == 204

    async def test_another_tenants_user_of_that_name_stays(
        self, api: Api, stranger: Api, broker: Broker, connection_id: str
    ) -> None:
        await stranger.delete("/v1/users/user-1")
        assert (await api.connection(connection_id))["status"] == "active"

    @pytest.mark.parametrize("user_id", ["a/b", "a b", "é", "%2e%2e", "a?b#c", "https://id.example/42"])
    async def test_whatever_a_user_is_called_he_can_be_erased(self, api: Api, broker: Broker, user_id: str) -> None:
        connection = await broker.rows.insert(tenant=api.tenant, user_id=user_id)
        quoted = "".join(f"%{byte:02X}" for byte in user_id.encode())
        answer = await api.delete(f"/v1/users/{quoted}")
        assert answer.status_code == 204
        assert (await api.connection(connection.id))["status"] == "revoked"

    @pytest.mark.parametrize("user_id", ["%00", "x" * 256])
    async def test_what_no_user_can_be_called_is_refused(self, api: Api, user_id: str) -> None:
        assert_problem(await api.delete(f"/v1/users/{user_id}"), 422, "invalid_request")


class TestOwnWrites:
    """What a broker has answered, it acts upon, even if it hears of no changes."""

    async def test_a_connection_of_an_erased_user_is_unusable_at_once(
        self, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
    ) -> None:
        broker = await brokers(database_listen_url=DEAF, cache_ttl=300)
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant)
        assert (await api.query(connection.id)).status_code == 200
        assert (await api.delete("/v1/users/user-1")).status_code == 204
        assert_graphql_refusal(await api.query(connection.id), 409, "CONNECTION_REVOKED")

    async def test_a_confirmed_connection_is_usable_at_once(
        self, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
    ) -> None:
        broker = await brokers(database_listen_url=DEAF, cache_ttl=300)
        api = await sign_up(broker=broker)
        async with broker.new_browser() as browser:
            session, shown = await log_in(api, bank, browser, require_confirmation=True)
        assert_graphql_refusal(await api.query(session["connection_id"]), 409, "CONNECTION_NOT_READY")
        code = shown.text.partition("<code>")[2].partition("</code>")[0]
        await api.post(f"/v1/sessions/{session['id']}/confirm", json={"confirmation_code": code})
        assert (await api.query(session["connection_id"])).status_code == 200

    async def test_a_renewed_connection_uses_its_new_token_at_once(
        self, brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
    ) -> None:
        broker = await brokers(database_listen_url=DEAF, cache_ttl=300)
        api = await sign_up(broker=broker)
        connection = await broker.rows.link(bank, tenant=api.tenant)
        await api.query(connection.id)
        async with broker.new_browser() as browser:
            await log_in(api, bank, browser, connection_id=connection.id)
        assert (await api.query(connection.id)).headers["broker-token-version"] == "2"

    async def test_a_key_that_was_revoked_here_is_refused_here(
        self, brokers: BrokerFactory, sign_up: ApiFactory
    ) -> None:
        broker = await brokers(database_listen_url=DEAF, cache_ttl=300)
        admin = await sign_up(broker=broker)
        other = await sign_up(broker=broker, tenant=admin.tenant)
        assert (await other.get("/v1/connections")).status_code == 200
        await admin.delete(f"/v1/callers/{other.caller.id}")
        assert_problem(await other.get("/v1/connections"), 401, "unauthorized_caller")
