"""Logins that renew a connection."""

from sandbox.client import SandboxClient
from tests.support.broker import Api, Broker, Browser
from tests.support.eventually import eventually
from tests.support.journey import go_to_bank, log_in


class TestRenewal:
    async def test_a_renewed_connection_keeps_its_id_and_gets_new_tokens(
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

    async def test_a_renewal_makes_an_ended_connection_active(
        self, api: Api, broker: Broker, bank: SandboxClient, browser: Browser, connection_id: str
    ) -> None:
        await bank.control("revoke-consent", sub=await bank.sub_of("thandi"))
        await api.post(f"/v1/connections/{connection_id}/refresh")
        await log_in(api, bank, browser, connection_id=connection_id)
        connection = await api.connection(connection_id)
        assert connection["status"] == "active"
        assert connection["reauthorization_reason"] is None
        assert (await api.query(connection_id)).json()["data"]

    async def test_another_subject_is_rejected_and_the_old_tokens_are_kept(
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

        async def the_grant_of_johan_is_revoked() -> bool:
            return not any(family.alive for family in (await bank.ledger()).families if family.sub == johan)

        await eventually(the_grant_of_johan_is_revoked)

    async def test_a_connection_that_is_revoked_during_the_login_stays_revoked(
        self, api: Api, bank: SandboxClient, browser: Browser, connection_id: str
    ) -> None:
        session = await api.start(connection_id=connection_id)
        location = await go_to_bank(bank, browser, session)
        await api.delete(f"/v1/connections/{connection_id}")
        await browser.open(location)
        assert (await api.session(session["id"]))["error"]["code"] == "connection_revoked"
        assert (await api.connection(connection_id))["status"] == "revoked"
