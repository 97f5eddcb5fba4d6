"""The one client for all OpenID Connect endpoints, as the runtime opens it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.oidc.transport import bank_client


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with bank_client() as client:
        yield client
