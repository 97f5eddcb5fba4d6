"""Steps of a refresh that several tests share."""

from app.refresh.connection_cache import UsableToken
from app.store.connections import Connection
from app.store.enums import RefreshCause
from app.store.refreshes import Claim
from tests.support.replica import Replica
from tests.support.rows import TENANT


async def usable(replica: Replica, connection: Connection, *, min_ttl: float = 0) -> UsableToken:
    return await replica.refresh.tokens.get(TENANT, connection.id, min_ttl=min_ttl)


async def claim_of(replica: Replica, connection: Connection) -> Claim:
    claim = await replica.refresh.refresher.claim(
        tenant=TENANT, connection_id=connection.id, version=connection.version, cause=RefreshCause.EXPIRED
    )
    assert claim is not None
    return claim


async def carry_out(replica: Replica, claim: Claim) -> None:
    await replica.refresh.refresher.carry_out(claim)
