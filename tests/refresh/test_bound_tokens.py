"""The refresh protocol with tokens that are bound to keys (RFC 9449): a key is stored and spooled with its token."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from app.errors import BankRequestRejected
from app.oidc.dpop import ProofKey
from app.spool.refreshes import UnsavedRefresh
from app.store.connections import Connection, TokenSet
from app.store.enums import RefreshCause
from app.store.refreshes import Claim, NewTokens
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.support.bank import refresh_requests_at
from tests.support.replica import CALLER, Replica
from tests.support.rows import Rows


@pytest.fixture
async def replica(replicas: ReplicaFactory) -> Replica:
    return await replicas(stitch_dpop="on")


@pytest.fixture
async def connection(bank: SandboxClient, rows: Rows) -> Connection:
    await bank.set_faults(dpop="required", dpop_nonces=True)
    return await rows.link(bank, proof_key=ProofKey.generate().private_jwk)


async def claim_of(replica: Replica, connection: Connection) -> Claim:
    claim = await replica.refresh.refresher.claim(
        tenant=connection.tenant, connection_id=connection.id, version=connection.version, cause=RefreshCause.REQUESTED
    )
    assert claim is not None
    return claim


async def key_of(rows: Rows, connection: Connection) -> SecretStr | None:
    tokens = (await rows.stored(connection.id)).tokens
    assert tokens is not None
    return tokens.proof_key


async def test_a_demand_for_a_nonce_does_not_fail_the_refresh(
    replica: Replica, rows: Rows, bank: SandboxClient, connection: Connection
) -> None:
    await replica.refresh.refresher.carry_out(await claim_of(replica, connection))
    assert await rows.attempts(connection.id) == [(1, "refreshed")]
    assert await refresh_requests_at(bank) == {"use_dpop_nonce": 1, "ok": 1}
    token = await replica.refresh.tokens.get(CALLER.tenant, connection.id)
    assert token.authorization.startswith(b"authorization: DPoP ")
    assert token.proof_key is not None
    stored = await key_of(rows, connection)
    assert stored is not None
    assert token.proof_key.thumbprint == ProofKey.from_private_jwk(stored).thumbprint
    assert stored.get_secret_value() not in repr(token)


async def test_a_spooled_response_keeps_its_key(replicas: ReplicaFactory, rows: Rows, connection: Connection) -> None:
    stopped = await replicas(stitch_dpop="on")
    key = ProofKey.generate().private_jwk
    new = NewTokens(TokenSet(SecretStr("access"), SecretStr("refresh"), key), 900, None)
    claim = await claim_of(stopped, connection)
    await stopped.refresh.spool.add(UnsavedRefresh(claim, new, stopped.core.clock.now() - timedelta(seconds=1)))
    await stopped.refresh.refresher.replay()
    assert await key_of(rows, connection) == key


async def test_a_rejected_proof_does_not_end_the_connection(
    replica: Replica, rows: Rows, bank: SandboxClient, connection: Connection
) -> None:
    await bank.set_faults(token={"error": "invalid_dpop_proof", "times": 1})
    with pytest.raises(BankRequestRejected, match="invalid_dpop_proof"):
        await replica.refresh.refresher.carry_out(await claim_of(replica, connection))
    await rows.allow_another_refresh(connection.id)
    await replica.refresh.refresher.carry_out(await claim_of(replica, connection))
    assert await rows.attempts(connection.id) == [(1, "request_refused"), (1, "refreshed")]
