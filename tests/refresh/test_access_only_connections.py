"""Connections without a refresh token."""

import contextlib

import pytest

from app.errors import (
    ReauthorizationRequired,
)
from app.store.connections import Connection
from app.store.enums import ConnectionStatus
from sandbox.client import SandboxClient
from tests.refresh.steps import usable
from tests.support.bank import refresh_requests_at
from tests.support.replica import Replica
from tests.support.rows import TENANT, Rows


@pytest.fixture
async def access_only(rows: Rows, bank: SandboxClient) -> Connection:
    """A connection without offline_access, whose access token expires in five minutes."""
    connection = await rows.link(bank, scope="openid accounts", seconds_left=300)
    assert not connection.refreshable
    return connection


async def test_without_a_refresh_token_the_connection_ends_when_the_token_expires(
    replica: Replica, rows: Rows, bank: SandboxClient, access_only: Connection
) -> None:
    assert (await usable(replica, access_only)).version == 1
    await rows.expire_access_token(access_only.id)
    replica.refresh.tokens.invalidate_all()
    for _ in range(2):
        with pytest.raises(ReauthorizationRequired):
            await usable(replica, access_only)
    stored = await rows.stored(access_only.id)
    assert stored.tokens is None
    assert stored.connection.reauthorization_reason == "not_refreshable"
    assert await refresh_requests_at(bank) == {}


async def test_a_request_for_a_longer_validity_does_not_end_a_connection_without_refresh_token(
    replica: Replica, rows: Rows, access_only: Connection
) -> None:
    with contextlib.suppress(ReauthorizationRequired):
        await usable(replica, access_only, min_ttl=600)
    stored = await rows.stored(access_only.id)
    assert stored.connection.status is ConnectionStatus.ACTIVE
    assert stored.tokens is not None


async def test_a_requested_refresh_does_not_end_a_connection_without_refresh_token(
    replica: Replica, rows: Rows, access_only: Connection
) -> None:
    with pytest.raises(Exception):  # noqa: B017 - several errors are possible
        await replica.refresh.tokens.refresh(TENANT, access_only.id, None)
    stored = await rows.stored(access_only.id)
    assert stored.connection.status is ConnectionStatus.ACTIVE
    assert stored.tokens is not None


async def test_a_token_that_cannot_be_refreshed_is_used_until_it_expires(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection = await rows.link(bank, scope="openid accounts", seconds_left=25)
    assert (await usable(replica, connection)).version == 1
