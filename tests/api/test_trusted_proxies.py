"""Behind a gateway: a path prefix that it removes or keeps, and forwarded headers of trusted proxies."""

import re
from typing import ClassVar
from urllib.parse import urljoin

import pytest

from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Broker, Browser
from tests.support.logs import Logs

PREFIX = "/banking/broker"
PUBLIC_URL = f"http://127.0.0.1:8000{PREFIX}"
# A gateway may keep or remove the prefix. Probes do not pass the gateway and use no prefix.
PREFIXES = pytest.mark.parametrize("prefix", [PREFIX, ""], ids=["kept", "removed"])


@pytest.fixture(scope="module")
async def prefixed(module_brokers: BrokerFactory) -> Broker:
    """A broker that is served below a path."""
    return await module_brokers(public_url=PUBLIC_URL)


@PREFIXES
async def test_pages_find_their_styles_below_a_path(prefixed: Broker, prefix: str) -> None:
    async with prefixed.new_browser() as browser:
        page = await browser.get(f"{prefix}/callback?state=unknown&code=x")
        assert page.status_code == 400
        addresses = re.findall(r'href="([^"]+)"', page.text)
        assert addresses
        for address in addresses:
            assert address.startswith(f"{PREFIX}/static/")
            assert (await browser.get(prefix + address.removeprefix(PREFIX))).status_code == 200


@PREFIXES
async def test_the_docs_work_below_a_path(prefixed: Broker, prefix: str) -> None:
    async with prefixed.new_browser() as browser:
        page = await browser.get(f"{prefix}/docs")
        addresses = {urljoin(f"{prefix}/docs", address) for address in re.findall(r'(?:href|src)="([^"]+)"', page.text)}
        own = {address.partition("#")[0] for address in addresses if "://" not in address}
        assert f"{prefix}/static/docs.js" in own
        for address in own:
            assert (await browser.get(address)).status_code == 200, address
        assert (await browser.get(f"{prefix}/openapi.json")).json()["servers"] == [{"url": PREFIX}]


@PREFIXES
async def test_calls_are_served_below_a_path(prefixed: Broker, sign_up: ApiFactory, prefix: str) -> None:
    api = await sign_up(broker=prefixed)
    started = await api.post(f"{prefix}/v1/sessions", json={"user_id": "user-1"})
    assert started.headers["location"] == f"{PREFIX}/v1/sessions/{started.json()['id']}"
    assert started.json()["connect_url"].startswith(f"{PUBLIC_URL}/connect/")
    assert (await api.get(started.headers["location"])).status_code == 200
    query = await api.post(f"{prefix}/v1/connections/con_unknown/graphql", json={"query": "{ a }"})
    assert query.json()["errors"][0]["extensions"]["code"] == "CONNECTION_NOT_FOUND"


async def test_another_path_is_not_found(prefixed: Broker) -> None:
    async with prefixed.new_browser() as browser:
        assert (await browser.get("/banking/brokers/healthz")).status_code == 404
        assert (await browser.get("/elsewhere/docs")).status_code == 404


async def test_without_a_path_prefix_the_api_is_at_the_root(browser: Browser) -> None:
    assert "servers" not in (await browser.get("/openapi.json")).json()


async def test_no_redirect_uses_the_host_header_of_the_request(browser: Browser) -> None:
    response = await browser.get("/v1/sessions/", headers={"host": "evil.example"})
    assert response.status_code == 404
    assert "location" not in response.headers


@pytest.fixture(scope="module")
async def behind_proxy(module_brokers: BrokerFactory) -> Broker:
    """A broker that trusts the address from which the requests of these tests come."""
    return await module_brokers(trusted_proxies=("127.0.0.0/8",))


class TestForwarded:
    HEADERS: ClassVar = {"x-forwarded-for": "203.0.113.9, 198.51.100.7", "x-forwarded-proto": "https"}

    async def client_seen_by(self, broker: Broker, logs: Logs) -> str:
        async with broker.new_browser() as browser:
            await browser.get("/docs", headers=self.HEADERS)
        [line] = await logs.access_lines(1)
        return str(line["client"])

    async def test_by_default_no_proxy_is_trusted(self, broker: Broker, logs: Logs) -> None:
        assert await self.client_seen_by(broker, logs) == "127.0.0.1"

    async def test_a_trusted_gateway_names_its_own_client_only(self, behind_proxy: Broker, logs: Logs) -> None:
        assert await self.client_seen_by(behind_proxy, logs) == "198.51.100.7"

    async def test_the_last_address_that_is_not_a_trusted_proxy_is_the_client(
        self, brokers: BrokerFactory, logs: Logs
    ) -> None:
        broker = await brokers(trusted_proxies=("127.0.0.1", "198.51.100.0/24"))
        assert await self.client_seen_by(broker, logs) == "203.0.113.9"

    @pytest.mark.parametrize("forwarded_for", ["x" * 60_000, "unknown", "fe80::1%" + "x" * 200, "203.0.113.9, _hidden"])
    async def test_a_value_that_is_not_an_address_is_ignored(
        self, behind_proxy: Broker, logs: Logs, monkeypatch: pytest.MonkeyPatch, forwarded_for: str
    ) -> None:
        monkeypatch.setitem(self.HEADERS, "x-forwarded-for", forwarded_for)
        assert await self.client_seen_by(behind_proxy, logs) == "127.0.0.1"

    async def test_a_proxy_of_another_network_is_not_trusted(self, brokers: BrokerFactory, logs: Logs) -> None:
        broker = await brokers(trusted_proxies=("10.0.0.0/8",))
        assert await self.client_seen_by(broker, logs) == "127.0.0.1"
