"""`/callback`: the redirect from the bank."""

import asyncio

import pytest

from app.runtime import RuntimeOptions
from app.store.postgresql.database_time import seconds_from_now
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.api.routes.callback_pages import call_back, page_of
from tests.support.broker import PUBLIC_URL, Api, Broker, Browser
from tests.support.journey import go_to_bank, log_in, parameters_of
from tests.support.replica import consent


class TestOutcomes:
    async def test_a_consent_links_the_account(self, api: Api, bank: SandboxClient, browser: Browser) -> None:
        session, shown = await log_in(api, bank, browser)
        assert shown.status_code == 200
        assert "Your account is linked" in shown.text
        page_of(shown)
        assert session["status"] == "completed"
        assert session["connection_id"]
        assert session["ended_at"] is not None
        assert session["authorization_url"] is session["connect_url"] is session["error"] is None
        connection = await api.connection(session["connection_id"])
        assert connection["status"] == "active"
        assert connection["subject"] == await bank.sub_of("thandi")

    async def test_the_assets_of_a_page_exist(self, api: Api, bank: SandboxClient, browser: Browser) -> None:
        _, shown = await log_in(api, bank, browser)
        addresses = page_of(shown).addresses
        assert addresses
        for address in addresses:
            assert (await browser.get(address)).status_code == 200

    async def test_a_state_alone_means_that_the_user_cancelled(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session, decision="cancel")
        assert parameters_of(location).keys() == {"state"}
        shown = await browser.open(location)
        assert shown.status_code == 200
        assert "Nothing was linked" in shown.text
        page_of(shown)
        cancelled = await api.session(session["id"])
        assert cancelled["status"] == "cancelled"
        assert cancelled["error"] is None

    async def test_access_denied_is_a_cancellation_too(self, api: Api, browser: Browser) -> None:
        session = await api.start()
        await call_back(browser, session, error="access_denied")
        assert (await api.session(session["id"]))["status"] == "cancelled"

    async def test_another_error_fails_with_its_code(self, api: Api, browser: Browser) -> None:
        session = await api.start()
        shown = await call_back(browser, session, error="server_error", error_description="out of order")
        assert shown.status_code == 200
        assert "could not be linked" in shown.text
        page_of(shown)
        failed = await api.session(session["id"])
        assert failed["status"] == "failed"
        assert failed["error"] == {"code": "server_error", "detail": "the bank said: out of order"}

    @pytest.mark.parametrize(
        "error", ["connection_revoked", "subject_mismatch", "unconfirmed", "id_token_signature", "whatever", "x" * 300]
    )
    async def test_an_error_code_of_the_broker_is_not_accepted_from_the_bank(
        self, api: Api, browser: Browser, error: str
    ) -> None:
        session = await api.start()
        await call_back(browser, session, error=error, error_description="planted")
        failed = (await api.session(session["id"]))["error"]
        assert failed["code"] == "authorization_failed"
        assert failed["detail"].startswith(f"the bank said: {error[:200]}")

    @pytest.mark.parametrize(("error", "status"), [("server_error", "failed"), ("access_denied", "cancelled")])
    async def test_a_code_together_with_an_error_is_not_exchanged(
        self, api: Api, bank: SandboxClient, browser: Browser, error: str, status: str
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        await browser.open(f"{location}&error={error}")
        assert (await api.session(session["id"]))["status"] == status
        assert (await bank.ledger()).totals.token_requests == {}

    async def test_a_failed_session_always_says_why(self, api: Api, browser: Browser) -> None:
        session = await api.start()
        await call_back(browser, session, error='"')
        failed = await api.session(session["id"])
        assert failed["status"] == "failed"
        assert failed["error"] is not None
        assert failed["error"]["code"]

    async def test_a_code_that_the_bank_rejects_fails_the_login(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        shown = await call_back(browser, session, code="made-up")
        assert "could not be linked" in shown.text
        failed = await api.session(session["id"])
        assert failed["status"] == "failed"
        assert failed["error"]["code"] == "invalid_grant"

    async def test_a_login_by_authorization_url_needs_no_link(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        location = await consent(bank, session["authorization_url"])
        shown = await browser.open(location)
        assert "Your account is linked" in shown.text
        assert any(name.startswith("broker-") for name in shown.cookies)
        assert (await api.session(session["id"]))["status"] == "completed"

    async def test_the_connection_has_the_granted_scopes_even_if_they_are_fewer(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        await browser.open(await go_to_bank(bank, browser, session, scopes=["accounts"]))
        connection = await api.connection((await api.session(session["id"]))["connection_id"])
        assert set(connection["scopes"]) == {"openid", "accounts"}
        assert connection["refreshable"] is False

    async def test_a_response_of_another_issuer_is_rejected(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        await browser.open(f"{location}&iss=https%3A%2F%2Fevil.example")
        failed = await api.session(session["id"])
        assert failed["error"]["code"] == "issuer_mismatch"
        assert (await bank.ledger()).totals.codes_exchanged == 0

    @pytest.mark.parametrize("parameters", [{}, {"error": "access_denied"}, {"error": "server_error"}])
    async def test_an_error_of_another_issuer_is_not_accepted(
        self, api: Api, browser: Browser, parameters: dict[str, str]
    ) -> None:
        """RFC 9207 section 2.4: `iss` is checked in error responses as well."""
        session = await api.start()
        await call_back(browser, session, iss="https://evil.example", **parameters)
        ended = await api.session(session["id"])
        assert ended["status"] == "failed"
        assert ended["error"]["code"] == "issuer_mismatch"


class TestState:
    async def test_opening_the_callback_again_shows_the_outcome_and_does_nothing(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        first, second = [await browser.open(location) for _ in range(2)]
        assert first.text == second.text
        assert (await bank.ledger()).totals.codes_exchanged == 1
        assert len((await api.get("/v1/connections")).json()["items"]) == 1

    async def test_a_state_that_is_used_concurrently_is_accepted_once(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        shown = await asyncio.gather(*(browser.open(location) for _ in range(100)))
        assert {response.status_code for response in shown} == {200}
        requests = (await bank.ledger()).totals.token_requests["authorization_code"]
        assert requests == {"ok": 1}
        assert len((await api.get("/v1/connections")).json()["items"]) == 1

    async def test_a_second_response_does_not_change_the_first(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        await call_back(browser, session, error="access_denied")
        shown = await call_back(browser, session, code="late")
        assert "Nothing was linked" in shown.text
        assert (await api.session(session["id"]))["status"] == "cancelled"
        assert (await bank.ledger()).totals.token_requests == {}

    @pytest.mark.parametrize("state", ["unknown", "x" * 43, "é", "%", "x" * 4_097, " "])
    async def test_an_unknown_state_gets_a_page_and_no_redirect(self, browser: Browser, state: str) -> None:
        shown = await browser.get("/callback", params={"state": state, "code": "code"})
        assert shown.status_code == 400
        assert "location" not in shown.headers
        assert "set-cookie" not in shown.headers
        page_of(shown)

    async def test_an_expired_state_gets_a_page_and_no_redirect(
        self, api: Api, broker: Broker, browser: Browser
    ) -> None:
        session = await api.start(return_url="https://shop.example/done")
        await broker.rows.change_session(session["id"], expires_at=seconds_from_now(-1))
        shown = await call_back(browser, session, code="code")
        assert shown.status_code == 400
        assert "took too long" in shown.text
        assert "location" not in shown.headers
        page_of(shown)

    async def test_a_callback_in_another_browser_than_the_link_is_rejected(
        self, api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        shown = await other_browser.open(location)
        assert shown.status_code == 400
        assert "another browser" in shown.text
        assert "set-cookie" not in shown.headers
        page_of(shown)
        assert (await api.session(session["id"]))["status"] == "pending"
        assert (await bank.ledger()).totals.codes_exchanged == 0
        assert "Your account is linked" in (await browser.open(location)).text

    async def test_a_callback_with_the_state_of_another_user_is_rejected(
        self, api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser
    ) -> None:
        """An attacker who sends their own redirect to a victim must not link their account in the victim's browser."""
        victims, attackers = await api.start(user_id="victim"), await api.start(user_id="attacker")
        await browser.open(victims["connect_url"])
        location = await go_to_bank(bank, other_browser, attackers)
        assert (await browser.open(location)).status_code == 400
        assert (await api.get("/v1/connections")).json()["items"] == []


class TestSlowBank:
    async def test_a_page_waits_for_a_slow_bank(
        self, bank: SandboxClient, brokers: BrokerFactory, sign_up: ApiFactory
    ) -> None:
        broker = await brokers(options=RuntimeOptions(browser_timeout=0.05))
        api = await sign_up(broker=broker)
        async with broker.new_browser() as browser:
            session = await api.start()
            location = await go_to_bank(bank, browser, session)
            await bank.set_faults(token={"delay": 0.5, "grant_type": "authorization_code", "times": 1})
            shown = await browser.open(location)
            assert shown.status_code == 200
            assert "One moment" in shown.text
            assert '<meta http-equiv="refresh"' in shown.text
            page_of(shown)
            assert (await api.session(session["id"]))["status"] == "exchanging"
            assert (await api.session(session["id"], wait=20))["status"] == "completed"
            assert "Your account is linked" in (await browser.open(location)).text
        assert (await bank.ledger()).totals.token_requests["authorization_code"] == {"ok": 1}

    async def test_a_login_completes_although_the_browser_is_closed(
        self, api: Api, broker: Broker, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        await bank.set_faults(token={"delay": 0.2, "grant_type": "authorization_code"})
        [cookie] = [f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar]
        _, writer = await asyncio.open_connection(*broker.host)
        path = location.removeprefix(PUBLIC_URL)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: broker\r\ncookie: {cookie}\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        assert (await api.session(session["id"], wait=20))["status"] == "completed"

    async def test_a_jwks_outage_loses_no_login(self, api: Api, bank: SandboxClient, browser: Browser) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        await bank.control("keys/rotate", keep_old=False)
        await bank.set_faults(jwks={"status": 503, "times": 1})
        await browser.open(location)
        assert (await api.session(session["id"], wait=20))["status"] == "completed"
        assert (await bank.ledger()).totals.codes_exchanged == 1
