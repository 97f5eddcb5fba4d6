"""A bank that does not say how long an access token is valid: the token is used until the bank rejects it."""

import asyncio
from datetime import datetime, timedelta

import pytest
from pydantic import JsonValue, SecretStr

from app.errors import Conflict, ReauthorizationRequired
from app.spool.refreshes import UnsavedRefresh
from app.store.connections import TokenSet
from app.store.enums import RefreshCause
from app.store.refreshes import NewTokens
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.support.bank import refreshes_at
from tests.support.replica import CALLER, Replica
from tests.support.rows import Rows

UNKNOWN: list[JsonValue] = [0, -900, "soon", "", None, True, [900]]


async def link(replica: Replica, bank: SandboxClient, **token_response: JsonValue) -> str:
    """Link an account; the fault also applies to later refreshes."""
    await bank.set_faults(token={"token_response": token_response})
    session = await replica.log_in(bank)
    assert session.connection_id is not None, session.error_code
    return session.connection_id


@pytest.mark.parametrize("expires_in", UNKNOWN, ids=repr)
async def test_a_token_of_unknown_lifetime_is_used_until_the_bank_rejects_it(
    replica: Replica, bank: SandboxClient, rows: Rows, expires_in: JsonValue
) -> None:
    connection_id = await link(replica, bank, expires_in=expires_in)
    for version in (1, 2):
        for _ in range(3):
            token = await replica.refresh.tokens.get(CALLER.tenant, connection_id, min_ttl=600)
            replica.refresh.tokens.invalidate_all()
            replica.clock.advance(86_400)
        assert (token.version, token.expires_at) == (version, None)
        assert await refreshes_at(bank) == version - 1
        replaced = await asyncio.gather(
            *(replica.refresh.tokens.replace_rejected(CALLER.tenant, token) for _ in range(5))
        )
        assert {token.version for token in replaced if token} == {version + 1}
    assert await rows.attempts(connection_id) == [(1, "refreshed"), (2, "refreshed")]


async def test_a_spooled_token_of_unknown_lifetime_is_stored_after_a_restart(
    replicas: ReplicaFactory, bank: SandboxClient, rows: Rows
) -> None:
    replica = await replicas()
    connection_id = await link(replica, bank, expires_in=0)
    claim = await replica.refresh.refresher.claim(
        tenant=CALLER.tenant, connection_id=connection_id, version=1, cause=RefreshCause.REQUESTED
    )
    assert claim is not None
    new = NewTokens(TokenSet(SecretStr("access"), SecretStr("refresh")), None, None)
    await replica.refresh.spool.add(UnsavedRefresh(claim, new, replica.clock.now()))
    await replica.refresh.refresher.replay()
    token = await replica.refresh.tokens.get(CALLER.tenant, connection_id)
    assert (token.version, token.expires_at) == (2, None)
    assert (await rows.stored(connection_id)).connection.refreshable


async def test_a_lifetime_of_30_days_is_stored(replica: Replica, bank: SandboxClient, rows: Rows) -> None:
    connection_id = await link(replica, bank, expires_in=30 * 86_400)
    connection = (await rows.stored(connection_id)).connection
    assert connection.access_token_lifetime == 30 * 86_400
    assert isinstance(connection.access_token_expires_at, datetime)
    lifetime = connection.access_token_expires_at - connection.created_at
    assert abs(lifetime - timedelta(days=30)) < timedelta(minutes=1)


async def test_without_a_refresh_token_a_rejection_ends_the_connection(replica: Replica, bank: SandboxClient) -> None:
    connection_id = await link(replica, bank, expires_in=0, refresh_token=None)
    token = await replica.refresh.tokens.get(CALLER.tenant, connection_id)
    with pytest.raises(Conflict, match="offline_access"):
        await replica.refresh.tokens.refresh(CALLER.tenant, connection_id, token.version)
    with pytest.raises(ReauthorizationRequired):
        await replica.refresh.tokens.replace_rejected(CALLER.tenant, token)
