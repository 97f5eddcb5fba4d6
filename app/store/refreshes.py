"""The refresh protocol's two short transactions, claim and save.

`version` counts token generations, `fence` counts claims. A claim raises the fence and is committed before the bank
is called. A save is accepted where the version is still the one that was presented and no later claim is under way.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import SecretStr
from sqlalchemy import exists, func, not_, or_, select, update

from app.base.encryption import KeyRing
from app.store.connections import (
    Connection,
    TokenSet,
    change_connection,
    erase_tokens,
    get_connection_with_tokens,
    lock_connection,
    publish_connection_event,
    store_tokens,
)
from app.store.enums import ConnectionStatus, EventType, RefreshOutcome
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now, seconds_until
from app.store.refresh_attempts import begin_attempt, close_abandoned, end_attempt
from app.store.tables import connections, refresh_attempts

# How long answers that waited for the database have to arrive, once it is back. Seconds; longer than their pauses.
_SETTLING_TIME = 5.0


class Saved(StrEnum):
    """What became of new tokens that were to be stored."""

    STORED = "refreshed"
    LATER_CLAIM_UNDER_WAY = "later_claim_under_way"
    SUPERSEDED = "superseded"
    SUBJECT_MISMATCH = "subject_mismatch"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right, for the time of the lease, to present one refresh token."""

    tenant: str
    connection_id: str
    version: int
    fence: int
    cause: str
    follows_unknown: bool
    failures: int
    refresh_token: SecretStr = field(repr=False)
    # When the claim was begun, on the monotonic clock of the process that holds it.
    claimed_at: float = field(default=float("inf"), compare=False)

    @property
    def audit_ids(self) -> dict[str, str]:
        """What the audit log names it by."""
        return {"connection_id": self.connection_id}


@dataclass(frozen=True, slots=True)
class NewTokens:
    """What the bank answered, ready to be stored. `lifetime` is in seconds, from when the request was sent; None if
    it is unknown.

    `subject` is whom the answer's id_token names, if it had one.
    """

    tokens: TokenSet
    lifetime: int | None
    scopes: list[str] | None
    subject: str | None = None


async def claim_refresh(
    transaction: Transaction,
    key_ring: KeyRing,
    *,
    tenant: str,
    connection_id: str,
    version: int,
    cause: str,
    replica: str,
    lease: float,
) -> Claim | None:
    """Take the right to refresh `version` for `lease` seconds, and record the intent.

    None where somebody else holds it, the version has moved, or the connection must wait or cannot be refreshed. An
    attempt that was left without an outcome may have its answer on somebody's disk: where the database has only just
    come back, whoever holds it saves first.
    """
    free = or_(connections.c.lease_until.is_(None), connections.c.lease_until <= func.clock_timestamp())
    due = or_(connections.c.retry_at.is_(None), connections.c.retry_at <= func.clock_timestamp())
    # Locked first: while an UPDATE waits for a lock, the lease that it is to write would already be running out.
    if await lock_connection(transaction, tenant, connection_id) is None:
        return None
    abandoned = exists().where(
        refresh_attempts.c.connection_id == connection_id,
        refresh_attempts.c.version == version,
        refresh_attempts.c.outcome.is_(None),
    )
    settled = or_(func.pg_postmaster_start_time() <= seconds_from_now(-_SETTLING_TIME), not_(abandoned))
    raised = await transaction.execute(
        update(connections)
        .where(
            connections.c.id == connection_id,
            connections.c.tenant == tenant,
            connections.c.version == version,
            connections.c.status == ConnectionStatus.ACTIVE,
            connections.c.refreshable,
            free,
            due,
            settled,
        )
        .values(fence=connections.c.fence + 1, lease_until=seconds_from_now(lease))
        .returning(connections.c.fence)
    )
    fence = raised.scalar()
    if fence is None:
        return None
    held = await get_connection_with_tokens(transaction, key_ring, tenant, connection_id)
    if held is None or held.tokens is None or held.tokens.refresh_token is None:
        raise LookupError(f"{connection_id} is refreshable and has no refresh token")
    follows_unknown = await close_abandoned(transaction, connection_id, version)
    await begin_attempt(
        transaction,
        tenant=tenant,
        connection_id=connection_id,
        version=version,
        fence=fence,
        cause=cause,
        replica=replica,
    )
    return Claim(
        tenant,
        connection_id,
        version,
        fence,
        cause,
        follows_unknown,
        held.connection.failures,
        held.tokens.refresh_token,
    )


async def save_refresh(
    transaction: Transaction, key_ring: KeyRing, claim: Claim, new: NewTokens, *, age: float
) -> Saved:
    """Store the successor of `claim.version`, `age` seconds after it was asked for, unless it came too late.

    A result may arrive after its lease has ended: the database was away, or a spool was replayed. It is still the
    bank's only successor of that version as long as the version stands, so it is stored, and brings back a connection
    that was given up meanwhile. While a later claim is under way it waits: that claim may have presented the same
    token to a bank that allows reuse, and then the later answer is the one that counts.
    """
    connection = await lock_connection(transaction, claim.tenant, claim.connection_id)
    if connection is None or connection.status is ConnectionStatus.REVOKED:
        await end_attempt(transaction, claim.connection_id, claim.fence, RefreshOutcome.REVOKED)
        return Saved.REVOKED
    if connection.version != claim.version:
        await end_attempt(transaction, claim.connection_id, claim.fence, RefreshOutcome.SUPERSEDED)
        return Saved.SUPERSEDED
    if connection.fence != claim.fence and await _is_leased(transaction, claim.connection_id):
        return Saved.LATER_CLAIM_UNDER_WAY
    if new.subject is not None and new.subject != connection.subject:
        # OpenID Connect Core 12.2: never go on with another user's data.
        await _require_consent(transaction, connection, claim, RefreshOutcome.SUBJECT_MISMATCH)
        return Saved.SUBJECT_MISMATCH
    version = claim.version + 1
    # A bank that does not rotate sends no new refresh token, and the old one stays good (RFC 6749 section 6).
    tokens = TokenSet(new.tokens.access_token, new.tokens.refresh_token or claim.refresh_token, new.tokens.proof_key)
    await store_tokens(
        transaction,
        key_ring,
        tenant=claim.tenant,
        connection_id=claim.connection_id,
        version=version,
        tokens=tokens,
    )
    await change_connection(
        transaction,
        claim.connection_id,
        status=ConnectionStatus.ACTIVE,
        reauthorization_reason=None,
        version=version,
        access_token_expires_at=None if new.lifetime is None else seconds_from_now(new.lifetime - age),
        access_token_lifetime=new.lifetime or 0,
        scopes=connection.scopes if new.scopes is None else new.scopes,
        refreshable=True,
        lease_until=None,
        retry_at=None,
        failures=0,
        last_failure=None,
        last_refreshed_at=func.now(),
    )
    await end_attempt(transaction, claim.connection_id, claim.fence, RefreshOutcome.REFRESHED)
    await publish_connection_event(transaction, EventType.CONNECTION_REFRESHED, connection, version=version)
    if connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED:
        await publish_connection_event(transaction, EventType.CONNECTION_RECOVERED, connection, version=version)
    return Saved.STORED


async def fail_refresh(transaction: Transaction, claim: Claim, outcome: RefreshOutcome, *, retry_in: float) -> None:
    """Record an attempt that brought no tokens; nothing is tried again for `retry_in` seconds.

    Where the outcome is unknown the lease stays until its end, since the bank may still be at work on it.
    """
    connection = await lock_connection(transaction, claim.tenant, claim.connection_id)
    await end_attempt(transaction, claim.connection_id, claim.fence, outcome)
    if connection is None or (connection.version, connection.fence) != (claim.version, claim.fence):
        return
    await change_connection(
        transaction,
        claim.connection_id,
        lease_until=connection.lease_until if outcome is RefreshOutcome.UNKNOWN else None,
        retry_at=connection.lease_until if outcome is RefreshOutcome.UNKNOWN else seconds_from_now(retry_in),
        failures=connection.failures + 1,
        last_failure=outcome,
    )


async def end_connection(transaction: Transaction, claim: Claim) -> RefreshOutcome:
    """Believe an `invalid_grant`, unless somebody else has succeeded or is at work meanwhile.

    After an attempt of unknown outcome the reason is that its answer was lost, not that the user withdrew.
    """
    connection = await lock_connection(transaction, claim.tenant, claim.connection_id)
    if (
        connection is None
        or connection.status is not ConnectionStatus.ACTIVE
        or (connection.version, connection.fence) != (claim.version, claim.fence)
    ):
        await end_attempt(transaction, claim.connection_id, claim.fence, RefreshOutcome.SUPERSEDED)
        return RefreshOutcome.SUPERSEDED
    outcome = RefreshOutcome.OUTCOME_LOST if claim.follows_unknown else RefreshOutcome.INVALID_GRANT
    await _require_consent(transaction, connection, claim, outcome)
    return outcome


async def _require_consent(
    transaction: Transaction, connection: Connection, claim: Claim, reason: RefreshOutcome
) -> None:
    await end_attempt(transaction, claim.connection_id, claim.fence, reason)
    await erase_tokens(transaction, claim.connection_id)
    await change_connection(
        transaction,
        claim.connection_id,
        status=ConnectionStatus.REAUTHORIZATION_REQUIRED,
        reauthorization_reason=reason,
        lease_until=None,
        retry_at=None,
        access_token_expires_at=None,
    )
    await publish_connection_event(
        transaction,
        EventType.CONNECTION_REAUTHORIZATION_REQUIRED,
        connection,
        version=connection.version,
        reason=reason,
    )


async def _is_leased(transaction: Transaction, connection_id: str) -> bool:
    query = select(seconds_until(connections.c.lease_until) > 0).where(connections.c.id == connection_id)
    return bool((await transaction.execute(query)).scalar())
