"""`/callback`: coming back from the bank."""

import asyncio
from html.parser import HTMLParser
from urllib.parse import quote, urlencode

import httpx
import pytest

from app.runtime import RuntimeOptions
from app.store.postgresql.database_time import seconds_from_now
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import PUBLIC_URL, Api, Broker, Browser
from tests.support.journey import go_to_bank, log_in, parameters_of
from tests.support.logs import Logs
from tests.support.replica import consent

HTML = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}${7*7}<svg/onload=alert`1`>"]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "srcset"):
                self.addresses.append(value or "")
            if name == "style" or name.startswith("on"):
                self.inline.append(name)


def read(answer: httpx.Response) -> _Page:
    """Read a page."""
    page = _Page()
    page.feed(answer.text)
    return page


def page_of(answer: httpx.Response) -> _Page:
    """Check what every page has in common, and return it read."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    page = read(answer)
    assert not {"script", "style", "form", "iframe"} & set(page.tags)
    assert page.inline == []
    assert all(address.startswith("/static/") for address in page.addresses)
    return page


class TestOutcomes:
    async def test_a_consent_is_thanked_for(self, api: Api, bank: SandboxClient, browser: Browser) -> None:
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

    async def test_the_assets_of_a_page_are_there(self, api: Api, bank: SandboxClient, browser: Browser) -> None:
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
        await answer_with(browser, session, error="access_denied")
        assert (await api.session(session["id"]))["status"] == "cancelled"

    async def test_another_error_fails_with_its_code(self, api: Api, browser: Browser) -> None:
        session = await api.start()
        shown = await answer_with(browser, session, error="server_error", error_description="out of order")
        assert shown.status_code == 200
        assert "could not be linked" in shown.text
        page_of(shown)
        failed = await api.session(session["id"])
        assert failed["status"] == "failed"
        assert failed["error"] == {"code": "server_error", "detail": "the bank said: out of order"}

    @pytest.mark.parametrize(
        "error", ["connection_revoked", "subject_mismatch", "unconfirmed", "id_token_signature", "whatever", "x" * 300]
    )
    async def test_a_code_that_is_not_the_banks_to_give_is_not_taken_for_the_brokers(
        self, api: Api, browser: Browser, error: str
    ) -> None:
        session = await api.start()
        await answer_with(browser, session, error=error, error_description="planted")
        failed = (await api.session(session["id"]))["error"]
        assert failed["code"] == "authorization_failed"
        assert failed["detail"].startswith(f"the bank said: {error[:200]}")

    @pytest.mark.parametrize(("error", "status"), [("server_error", "failed"), ("access_denied", "cancelled")])
    async def test_a_code_that_comes_with_an_error_is_not_exchanged(
        self, api: Api, bank: SandboxClient, browser: Browser, error: str, status: str
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        await browser.open(f"{location}&error={error}")
        assert (await api.session(session["id"]))["status"] == status
        assert (await bank.ledger()).totals.token_requests == {}

    async def test_a_failed_session_always_says_why(self, api: Api, browser: Browser) -> None:
        session = await api.start()
        await answer_with(browser, session, error='"')
        failed = await api.session(session["id"])
        assert failed["status"] == "failed"
        assert failed["error"] is not None
        assert failed["error"]["code"]

    async def test_a_code_that_the_bank_refuses_fails(self, api: Api, bank: SandboxClient, browser: Browser) -> None:
        session = await api.start()
        shown = await answer_with(browser, session, code="made-up")
        assert "could not be linked" in shown.text
        failed = await api.session(session["id"])
        assert failed["status"] == "failed"
        assert failed["error"]["code"] == "invalid_grant"

    async def test_a_redirect_straight_from_the_bank_needs_no_link(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        location = await consent(bank, session["authorization_url"])
        shown = await browser.open(location)
        assert "Your account is linked" in shown.text
        assert any(name.startswith("broker-") for name in shown.cookies)
        assert (await api.session(session["id"]))["status"] == "completed"

    async def test_fewer_scopes_than_asked_are_what_the_connection_has(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        await browser.open(await go_to_bank(bank, browser, session, scopes=["accounts"]))
        connection = await api.connection((await api.session(session["id"]))["connection_id"])
        assert set(connection["scopes"]) == {"openid", "accounts"}
        assert connection["refreshable"] is False

    async def test_an_answer_of_another_issuer_is_refused(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        await browser.open(f"{location}&iss=https%3A%2F%2Fevil.example")
        failed = await api.session(session["id"])
        assert failed["error"]["code"] == "issuer_mismatch"
        assert (await bank.ledger()).totals.codes_exchanged == 0

    @pytest.mark.parametrize("answer", [{}, {"error": "access_denied"}, {"error": "server_error"}])
    async def test_an_error_of_another_issuer_is_not_believed(
        self, api: Api, browser: Browser, answer: dict[str, str]
    ) -> None:
        """RFC 9207 section 2.4: `iss` is checked in error responses as well."""
        session = await api.start()
        await answer_with(browser, session, iss="https://evil.example", **answer)
        ended = await api.session(session["id"])
        assert ended["status"] == "failed"
        assert ended["error"]["code"] == "issuer_mismatch"


async def answer_with(browser: Browser, session: dict[str, str], **parameters: str) -> httpx.Response:
    """Come back with the session's state and these parameters."""
    state = parameters_of(session["authorization_url"])["state"]
    return await browser.get("/callback", params={"state": state, **parameters})


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

    async def test_a_state_opened_many_times_at_once_is_used_once(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        shown = await asyncio.gather(*(browser.open(location) for _ in range(100)))
        assert {answer.status_code for answer in shown} == {200}
        requests = (await bank.ledger()).totals.token_requests["authorization_code"]
        assert requests == {"ok": 1}
        assert len((await api.get("/v1/connections")).json()["items"]) == 1

    async def test_a_second_answer_does_not_change_the_first(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        await answer_with(browser, session, error="access_denied")
        shown = await answer_with(browser, session, code="late")
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
        shown = await answer_with(browser, session, code="code")
        assert shown.status_code == 400
        assert "took too long" in shown.text
        assert "location" not in shown.headers
        page_of(shown)

    async def test_a_callback_in_another_browser_than_the_link_is_refused(
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

    async def test_a_callback_with_another_users_state_is_refused(
        self, api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser
    ) -> None:
        """Whoever sends a victim their own redirect must not have the victim's browser link their account."""
        mine, theirs = await api.start(user_id="victim"), await api.start(user_id="attacker")
        await browser.open(mine["connect_url"])
        location = await go_to_bank(bank, other_browser, theirs)
        assert (await browser.open(location)).status_code == 400
        assert (await api.get("/v1/connections")).json()["items"] == []


class TestParameters:
    @pytest.mark.parametrize("name", ["state", "code", "error", "iss"])
    async def test_a_repeated_parameter_is_refused(self, api: Api, browser: Browser, name: str) -> None:
        session = await api.start()
        state = parameters_of(session["authorization_url"])["state"]
        query = f"state={state}&code=c&{name}=one&{name}=two"
        shown = await browser.get(f"/callback?{query}")
        assert shown.status_code == 400
        page_of(shown)
        assert (await api.session(session["id"]))["status"] == "pending"

    async def test_parameters_that_nobody_knows_are_ignored(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        shown = await browser.open(f"{location}&unknown=1&unknown=2&x=%0d%0a")
        assert "Your account is linked" in shown.text

    @pytest.mark.parametrize("name", ["error_description", "session_state", "scope", "unknown"])
    @pytest.mark.parametrize("value", ["one%0d%0atwo", "x" * 50_000, "%00%ff", "a&{name}=b"], ids=range(4))
    async def test_nothing_in_another_parameter_keeps_a_login_from_its_end(
        self, api: Api, bank: SandboxClient, browser: Browser, name: str, value: str
    ) -> None:
        other = f"{name}={value.format(name=name)}"
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        assert "Your account is linked" in (await browser.open(f"{location}&{other}")).text
        assert (await api.session(session["id"]))["status"] == "completed"

        failing = await api.start()
        state = parameters_of(failing["authorization_url"])["state"]
        shown = await browser.get(f"/callback?state={state}&error=server_error&{other}")
        assert shown.status_code == 200
        failed = await api.session(failing["id"])
        assert (failed["status"], failed["error"]["code"]) == ("failed", "server_error")
        assert "\n" not in (failed["error"]["detail"] or "")

    @pytest.mark.parametrize("query", ["", "code=c", "state=", "state", "error=access_denied"])
    async def test_a_callback_without_a_state_is_refused(self, browser: Browser, query: str) -> None:
        shown = await browser.get(f"/callback?{query}")
        assert shown.status_code == 400
        page_of(shown)

    @pytest.mark.parametrize("name", ["state", "code", "error", "iss"])
    @pytest.mark.parametrize("length", [5_000, 60_000])
    async def test_a_huge_parameter_is_refused(self, api: Api, browser: Browser, name: str, length: int) -> None:
        session = await api.start()
        parameters = {"state": parameters_of(session["authorization_url"])["state"], name: "x" * length}
        shown = await browser.get("/callback", params=parameters)
        assert shown.status_code == 400
        assert "x" * 100 not in shown.text
        assert (await api.session(session["id"]))["status"] == "pending"

    @pytest.mark.parametrize("name", ["state", "code", "error", "error_description", "iss"])
    async def test_a_parameter_of_100_kilobytes_is_refused_unread(
        self, api: Api, broker: Broker, logs: Logs, name: str
    ) -> None:
        session = await api.start()
        state = parameters_of(session["authorization_url"])["state"]
        query = urlencode({"state": state, name: "x" * 100_000})
        reader, writer = await asyncio.open_connection(*broker.host)
        writer.write(f"GET /callback?{query} HTTP/1.1\r\nhost: broker\r\nconnection: close\r\n\r\n".encode())
        shown = await reader.read()
        writer.close()
        assert shown.startswith(b"HTTP/1.1 400 ")
        assert b"x" * 100 not in shown
        assert "x" * 100 not in logs.text
        assert (await api.session(session["id"]))["status"] == "pending"

    @pytest.mark.parametrize(
        "name", ["state", "code", "error", "error_description", "iss", "scope", "session_state", "unknown"]
    )
    @pytest.mark.parametrize("attack", HTML)
    async def test_html_in_a_parameter_is_never_shown(
        self, api: Api, browser: Browser, logs: Logs, name: str, attack: str
    ) -> None:
        session = await api.start()
        parameters = {"state": parameters_of(session["authorization_url"])["state"], "error": "x", name: attack}
        shown = await browser.get("/callback", params=parameters)
        page_of(shown)
        assert attack not in shown.text
        assert attack not in str(shown.headers)
        assert attack not in logs.text

    async def test_html_in_an_error_is_text(self, api: Api, browser: Browser) -> None:
        session = await api.start(return_url="https://shop.example/done")
        attack = "<script>alert(1)</script>"
        shown = await answer_with(browser, session, error=attack, error_description=attack)
        assert attack not in shown.text
        assert "<" not in shown.headers["location"]
        assert (await api.session(session["id"]))["error"]["code"] == "authorization_failed"
        other = await api.start()
        shown = await answer_with(browser, other, error=attack, error_description=attack)
        assert attack not in shown.text
        page_of(shown)

    @pytest.mark.parametrize("name", ["state", "code", "error", "error_description", "iss"])
    @pytest.mark.parametrize("attack", ["a\r\nset-cookie: evil=1\r\n\r\n<html>", "a\nb", "a\x00b", "a\x7fb"])
    async def test_line_breaks_reach_neither_headers_nor_logs(
        self, api: Api, browser: Browser, logs: Logs, name: str, attack: str
    ) -> None:
        session = await api.start()
        parameters = {"state": parameters_of(session["authorization_url"])["state"], name: attack}
        shown = await browser.get("/callback", params=parameters)
        assert shown.status_code == (200 if name == "error_description" else 400)
        assert "evil" not in str(shown.headers)
        page_of(shown)
        assert "evil" not in logs.text
        assert all("event" in line for line in logs.lines)

    @pytest.mark.parametrize("query", ["state=%FF%FE", "state=%ED%A0%80", "%00=%00&state=a", "state=a;b=c&&&=&"])
    async def test_bytes_that_are_no_text_are_no_fault_of_ours(self, browser: Browser, query: str) -> None:
        assert (await browser.get(f"/callback?{query}")).status_code == 400

    async def test_a_log_line_names_the_route_and_not_the_address(
        self, api: Api, bank: SandboxClient, browser: Browser, logs: Logs
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        await browser.open(location)
        routes = [line["route"] for line in await logs.access_lines(3)]
        assert routes.count("/callback") == 1
        assert routes.count("/connect/{ticket}") == 1
        for value in parameters_of(location).values():
            assert value not in logs.text or value == "openid"


class TestReturnUrl:
    async def test_the_browser_goes_back_with_the_outcome(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session, shown = await log_in(api, bank, browser, return_url="https://shop.example/done")
        assert shown.status_code == 303
        assert shown.headers["location"].startswith("https://shop.example/done?")
        assert parameters_of(shown.headers["location"]) == {"session_id": session["id"], "status": "completed"}
        assert shown.headers["cache-control"] == "no-store"
        assert shown.headers["referrer-policy"] == "no-referrer"

    async def test_what_its_query_held_stays_there(self, api: Api, bank: SandboxClient, browser: Browser) -> None:
        url = "https://shop.example/below/x?order=10%2001&empty=&status=forged&a=1"
        session, shown = await log_in(api, bank, browser, return_url=url)
        assert parameters_of(shown.headers["location"]) == {
            "order": "10 01",
            "empty": "",
            "a": "1",
            "session_id": session["id"],
            "status": "completed",
        }

    @pytest.mark.parametrize(
        ("parameters", "status"),
        [({}, "cancelled"), ({"error": "access_denied"}, "cancelled"), ({"error": "server_error"}, "failed")],
    )
    async def test_it_hears_of_other_ends_as_well(
        self, api: Api, browser: Browser, parameters: dict[str, str], status: str
    ) -> None:
        session = await api.start(return_url="https://shop.example/done")
        shown = await answer_with(browser, session, **parameters)
        assert shown.status_code == 303
        assert parameters_of(shown.headers["location"]) == {"session_id": session["id"], "status": status}

    async def test_another_browser_that_opens_an_ended_login_learns_no_code(
        self, api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser
    ) -> None:
        wanted = {"return_url": "https://shop.example/done", "require_confirmation": True}
        session = await api.start(**wanted)
        location = await go_to_bank(bank, browser, session)
        shown = await browser.open(location)
        assert "confirmation_code" in parameters_of(shown.headers["location"])
        elsewhere = await other_browser.open(location)
        assert "confirmation_code" not in elsewhere.headers.get("location", "")


class TestBehindAPath:
    async def test_a_page_finds_its_assets_below_the_public_path(self, brokers: BrokerFactory) -> None:
        """The gateway takes the path away; what the browser asks for must carry it."""
        broker = await brokers(public_url="https://example.com/linking/")
        async with broker.new_browser() as browser:
            shown = await browser.get("/callback")
        addresses = read(shown).addresses
        assert addresses
        assert all(address.startswith("/linking/static/") for address in addresses)


class TestSlowBank:
    async def test_a_bank_that_takes_its_time_is_waited_for_on_a_page(
        self, bank: SandboxClient, brokers: BrokerFactory, sign_up: ApiFactory
    ) -> None:
        impatient = await brokers(options=RuntimeOptions(browser_timeout=0.05))
        api = await sign_up(broker=impatient)
        async with impatient.new_browser() as browser:
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

    async def test_a_login_goes_on_when_the_browser_closes(
        self, api: Api, broker: Broker, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        await bank.set_faults(token={"delay": 0.2, "grant_type": "authorization_code"})
        [cookie] = [f"{one.name}={one.value}" for one in browser.cookies.jar]
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


async def test_an_address_that_needs_quoting_stays_one_address(api: Api, browser: Browser) -> None:
    url = "https://shop.example/below/" + quote("späti & co", safe="")
    session = await api.start(return_url=url)
    shown = await answer_with(browser, session)
    assert shown.headers["location"].partition("?")[0] == url
