"""Sessions that are cancelled or expire."""

from datetime import datetime, timedelta

from app.store.postgresql.database_time import seconds_from_now
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker, Browser
from tests.support.error_responses import assert_problem
from tests.support.journey import go_to_bank


class TestCancel:
    async def test_a_cancelled_login_has_no_links(self, api: Api, browser: Browser) -> None:
        session = await api.start()
        response = await api.delete(f"/v1/sessions/{session['id']}")
        assert (response.status_code, response.content) == (204, b"")
        cancelled = await api.session(session["id"])
        assert cancelled["status"] == "cancelled"
        assert cancelled["ended_at"] is not None
        assert cancelled["authorization_url"] is cancelled["connect_url"] is None
        opened = await browser.open(session["connect_url"])
        assert opened.status_code == 400
        assert "location" not in opened.headers

    async def test_the_redirect_of_the_bank_for_a_cancelled_login_links_nothing(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        await api.delete(f"/v1/sessions/{session['id']}")
        shown = await browser.open(location)
        assert "Nothing was linked" in shown.text
        assert (await api.get("/v1/connections")).json()["items"] == []
        assert (await bank.ledger()).totals.codes_exchanged == 0

    async def test_cancelling_again_is_no_error(self, api: Api) -> None:
        session = await api.start()
        for _ in range(2):
            assert (await api.delete(f"/v1/sessions/{session['id']}")).status_code == 204

    async def test_a_completed_login_cannot_be_cancelled(self, api: Api, bank: SandboxClient, browser: Browser) -> None:
        session = await api.start()
        await browser.open(await go_to_bank(bank, browser, session))
        assert_problem(await api.delete(f"/v1/sessions/{session['id']}"), 409, "session_not_pending")
        assert (await api.session(session["id"]))["status"] == "completed"


class TestTime:
    async def test_a_login_expires_at_its_time(
        self, api: Api, broker: Broker, browser: Browser, bank: SandboxClient
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        await broker.rows.change_session(session["id"], expires_at=seconds_from_now(-1))
        expired = await api.session(session["id"])
        assert expired["status"] == "expired"
        assert expired["ended_at"] is not None
        assert expired["authorization_url"] is expired["connect_url"] is None
        shown = await browser.open(location)
        assert shown.status_code == 400
        assert "location" not in shown.headers
        assert (await bank.ledger()).totals.codes_exchanged == 0

    async def test_the_lifetime_of_a_login_is_a_setting(self, brokers: BrokerFactory, sign_up: ApiFactory) -> None:
        api = await sign_up(broker=await brokers(session_ttl=60))
        session = await api.start()
        times = [datetime.fromisoformat(session[name]) for name in ("created_at", "expires_at")]
        assert times[1] - times[0] == timedelta(seconds=60)
