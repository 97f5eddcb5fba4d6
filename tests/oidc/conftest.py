"""The HTTP client for OpenID Connect endpoints, opened as the broker opens it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.oidc.transport import bank_client


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with bank_client() as client:
        yield client
