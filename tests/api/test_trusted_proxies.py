"""Behind a gateway: a path that it cuts off or leaves, and forwarded headers of those who may send them."""

import re
from typing import ClassVar
from urllib.parse import urljoin

import pytest

from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Broker, Browser
from tests.support.logs import Logs

PREFIX = "/banking/broker"
PUBLIC_URL = f"http://127.0.0.1:8000{PREFIX}"
# Both ways that gateways have, and the way of probes, which come past the gateway.
WAYS = pytest.mark.parametrize("way", [PREFIX, ""], ids=["left", "cut-off"])


@WAYS
async def test_pages_find_their_styles_below_a_path(brokers: BrokerFactory, way: str) -> None:
    broker = await brokers(public_url=PUBLIC_URL)
    async with broker.new_browser() as browser:
        page = await browser.get(f"{way}/callback?state=unknown&code=x")
        assert page.status_code == 400
        addresses = re.findall(r'href="([^"]+)"', page.text)
        assert addresses
        for address in addresses:
            assert address.startswith(f"{PREFIX}/static/")
            assert (await browser.get(way + address.removeprefix(PREFIX))).status_code == 200


@WAYS
async def test_the_docs_call_below_a_path(brokers: BrokerFactory, way: str) -> None:
    broker = await brokers(public_url=PUBLIC_URL)
    async with broker.new_browser() as browser:
        page = await browser.get(f"{way}/docs")
        addresses = {urljoin(f"{way}/docs", address) for address in re.findall(r'(?:href|src)="([^"]+)"', page.text)}
        own = {address.partition("#")[0] for address in addresses if "://" not in address}
        assert f"{way}/static/docs.js" in own
        for address in own:
            assert (await browser.get(address)).status_code == 200, address
        assert (await browser.get(f"{way}/openapi.json")).json()["servers"] == [{"url": PREFIX}]


@WAYS
async def test_calls_are_served_below_a_path(brokers: BrokerFactory, sign_up: ApiFactory, way: str) -> None:
    api = await sign_up(broker=await brokers(public_url=PUBLIC_URL))
    started = await api.post(f"{way}/v1/sessions", json={"user_id": "user-1"})
    assert started.headers["location"] == f"{PREFIX}/v1/sessions/{started.json()['id']}"
    assert started.json()["connect_url"].startswith(f"{PUBLIC_URL}/connect/")
    assert (await api.get(started.headers["location"])).status_code == 200
    query = await api.post(f"{way}/v1/connections/con_unknown/graphql", json={"query": "{ a }"})
    assert query.json()["errors"][0]["extensions"]["code"] == "CONNECTION_NOT_FOUND"


async def test_another_path_is_none_of_ours(brokers: BrokerFactory) -> None:
    broker = await brokers(public_url=PUBLIC_URL)
    async with broker.new_browser() as browser:
        assert (await browser.get("/banking/brokers/healthz")).status_code == 404
        assert (await browser.get("/elsewhere/docs")).status_code == 404


async def test_without_a_path_the_calls_are_at_the_root(browser: Browser) -> None:
    assert "servers" not in (await browser.get("/openapi.json")).json()


async def test_nobody_is_redirected_to_a_host_that_the_request_named(browser: Browser) -> None:
    answer = await browser.get("/v1/sessions/", headers={"host": "evil.example"})
    assert answer.status_code == 404
    assert "location" not in answer.headers


class TestForwarded:
    HEADERS: ClassVar = {"x-forwarded-for": "203.0.113.9, 198.51.100.7", "x-forwarded-proto": "https"}

    async def client_seen_by(self, broker: Broker, logs: Logs) -> str:
        async with broker.new_browser() as browser:
            await browser.get("/docs", headers=self.HEADERS)
        [line] = await logs.access_lines(1)
        return str(line["client"])

    async def test_nobody_is_believed_unless_told_so(self, broker: Broker, logs: Logs) -> None:
        assert await self.client_seen_by(broker, logs) == "127.0.0.1"

    async def test_a_trusted_gateway_is_believed_of_its_own_client_alone(
        self, brokers: BrokerFactory, logs: Logs
    ) -> None:
        broker = await brokers(trusted_proxies=("127.0.0.0/8",))
        assert await self.client_seen_by(broker, logs) == "198.51.100.7"

    async def test_the_first_that_is_not_trusted_is_the_client(self, brokers: BrokerFactory, logs: Logs) -> None:
        broker = await brokers(trusted_proxies=("127.0.0.1", "198.51.100.0/24"))
        assert await self.client_seen_by(broker, logs) == "203.0.113.9"

    @pytest.mark.parametrize("said", ["x" * 60_000, "unknown", "fe80::1%" + "x" * 200, "203.0.113.9, _hidden"])
    async def test_what_is_no_address_is_not_taken_for_one(
        self, brokers: BrokerFactory, logs: Logs, monkeypatch: pytest.MonkeyPatch, said: str
    ) -> None:
        broker = await brokers(trusted_proxies=("127.0.0.0/8",))
        monkeypatch.setitem(self.HEADERS, "x-forwarded-for", said)
        assert await self.client_seen_by(broker, logs) == "127.0.0.1"

    async def test_others_are_not_believed(self, brokers: BrokerFactory, logs: Logs) -> None:
        broker = await brokers(trusted_proxies=("10.0.0.0/8",))
        assert await self.client_seen_by(broker, logs) == "127.0.0.1"
