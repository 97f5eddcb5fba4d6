"""Brokers with other settings than the shared one, and other fixtures of the API tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.runtime import RuntimeOptions
from sandbox.client import SandboxClient
from tests.conftest import ApiFactory
from tests.support.broker import Api, Broker, Browser, served, settings_for
from tests.support.collector import Collector, run_collector
from tests.support.hostile import HostileServer, hostile_server
from tests.support.logs import Logs, capture_logs

__all__ = ["ApiFactory", "BrokerFactory"]
BrokerFactory = Callable[..., Awaitable[Broker]]


@pytest.fixture
async def brokers(bank_url: str, shared_database_url: SecretStr, tmp_path: Path) -> AsyncIterator[BrokerFactory]:
    """Serves more brokers until the test ends. Options are settings, and RuntimeOptions as `options`."""
    async with _serving(bank_url, shared_database_url, tmp_path) as serve:
        yield serve


@pytest.fixture(scope="module")
async def module_brokers(
    bank_url: str, shared_database_url: SecretStr, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BrokerFactory]:
    """Serves brokers that the tests of a module share. Options are those of `brokers`."""
    async with _serving(bank_url, shared_database_url, tmp_path_factory.mktemp("brokers")) as serve:
        yield serve


@asynccontextmanager
async def _serving(bank_url: str, shared_database_url: SecretStr, directory: Path) -> AsyncIterator[BrokerFactory]:
    async with AsyncExitStack() as stack:

        async def serve(**changes: Any) -> Broker:
            database_url = changes.pop("database_url", shared_database_url)
            options = changes.pop("options", RuntimeOptions())
            settings = settings_for(bank_url, database_url, changes.pop("data_dir", directory), **changes)
            return await stack.enter_async_context(served(settings, options))

        yield serve


@pytest.fixture
async def collected(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """Receives the spans of the brokers that a test serves."""
    async with run_collector() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
async def stranger(sign_up: ApiFactory) -> Api:
    """A caller that may do everything in another tenant."""
    return await sign_up()


@pytest.fixture
async def other_browser(broker: Broker) -> AsyncIterator[Browser]:
    """The browser of another person."""
    async with broker.new_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
async def _upstream() -> AsyncIterator[HostileServer]:
    async with hostile_server() as server:
        yield server


@pytest.fixture
def upstream(_upstream: HostileServer) -> HostileServer:
    """A GraphQL server at `/graphql` with scripted responses, which records its requests."""
    _upstream.replies.clear()
    _upstream.received.clear()
    return _upstream


@pytest.fixture(scope="session")
async def proxy(
    _upstream: HostileServer,
    bank_url: str,
    shared_database_url: SecretStr,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Broker]:
    """A broker whose queries go to `upstream`."""
    settings = settings_for(
        bank_url,
        shared_database_url,
        tmp_path_factory.mktemp("proxy"),
        stitch_graphql_url=f"{_upstream.url}/graphql",
        query_timeout=1,
    )
    async with served(settings) as broker:
        yield broker


@pytest.fixture
async def connection_id(broker: Broker, api: Api, bank: SandboxClient) -> str:
    """A connection of `api` with tokens that the bank has issued."""
    return (await broker.rows.link(bank, tenant=api.tenant)).id


@pytest.fixture
async def open_writers(broker: Broker) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Connections that are closed after the test."""
    writers: list[asyncio.StreamWriter] = []
    yield writers
    for writer in writers:
        writer.close()


@pytest.fixture(autouse=True)
def logs() -> Iterator[Logs]:
    """Everything that is logged during this test, debug lines too."""
    with capture_logs() as logs:
        yield logs
