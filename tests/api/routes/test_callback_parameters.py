"""The parameters of `/callback`: malformed, repeated, huge, or with HTML and line breaks."""

import asyncio
from urllib.parse import urlencode

import pytest

from sandbox.client import SandboxClient
from tests.api.routes.callback_pages import call_back, page_of
from tests.support.broker import Api, Broker, Browser
from tests.support.journey import go_to_bank, parameters_of
from tests.support.logs import Logs

HTML = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}${7*7}<svg/onload=alert`1`>"]


class TestParameters:
    @pytest.mark.parametrize("name", ["state", "code", "error", "iss"])
    async def test_a_repeated_parameter_is_rejected(self, api: Api, browser: Browser, name: str) -> None:
        session = await api.start()
        state = parameters_of(session["authorization_url"])["state"]
        query = f"state={state}&code=c&{name}=one&{name}=two"
        shown = await browser.get(f"/callback?{query}")
        assert shown.status_code == 400
        page_of(shown)
        assert (await api.session(session["id"]))["status"] == "pending"

    async def test_unknown_parameters_are_ignored(self, api: Api, bank: SandboxClient, browser: Browser) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        shown = await browser.open(f"{location}&unknown=1&unknown=2&x=%0d%0a")
        assert "Your account is linked" in shown.text

    @pytest.mark.parametrize("name", ["error_description", "session_state", "scope", "unknown"])
    @pytest.mark.parametrize("value", ["one%0d%0atwo", "x" * 50_000, "%00%ff", "a&{name}=b"], ids=range(4))
    async def test_no_other_parameter_can_keep_a_login_from_ending(
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
    async def test_a_callback_without_a_state_is_rejected(self, browser: Browser, query: str) -> None:
        shown = await browser.get(f"/callback?{query}")
        assert shown.status_code == 400
        page_of(shown)

    @pytest.mark.parametrize("name", ["state", "code", "error", "iss"])
    @pytest.mark.parametrize("length", [5_000, 60_000])
    async def test_a_huge_parameter_is_rejected(self, api: Api, browser: Browser, name: str, length: int) -> None:
        session = await api.start()
        parameters = {"state": parameters_of(session["authorization_url"])["state"], name: "x" * length}
        shown = await browser.get("/callback", params=parameters)
        assert shown.status_code == 400
        assert "x" * 100 not in shown.text
        assert (await api.session(session["id"]))["status"] == "pending"

    @pytest.mark.parametrize("name", ["state", "code", "error", "error_description", "iss"])
    async def test_a_parameter_of_100_kilobytes_is_rejected_unread(
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
        shown = await call_back(browser, session, error=attack, error_description=attack)
        assert attack not in shown.text
        assert "<" not in shown.headers["location"]
        assert (await api.session(session["id"]))["error"]["code"] == "authorization_failed"
        other = await api.start()
        shown = await call_back(browser, other, error=attack, error_description=attack)
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
    async def test_bytes_that_are_not_text_are_rejected(self, browser: Browser, query: str) -> None:
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
