"""An environment for each page and language."""

import pytest
from pydantic import SecretStr

from sandbox.client import SandboxClient
from tests.docs.stage import Stage
from tests.support.broker import Api, Broker, Browser


@pytest.fixture
async def stage(
    *, broker: Broker, api: Api, bank: SandboxClient, bank_url: str, browser: Browser, database_url: SecretStr
) -> Stage:
    """Return a stage with its own caller at the broker that all tests share."""
    return Stage(broker=broker, api=api, bank=bank, bank_url=bank_url, browser=browser, operators_database=database_url)
