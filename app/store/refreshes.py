"""The two short transactions of the refresh protocol, claim and save.

`version` counts token generations, `fence` counts claims. A claim increments the fence and is committed before the bank
is called. A save is accepted if the version has not changed since the claim and no later claim is in progress.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import SecretStr
from sqlalchemy import exists, func, not_, or_, select, update

from app.base.bank_client import BankClient
from app.base.encryption import KeyRing
from app.store.bank_clients import TRIAL_INTERVAL_SECONDS, claim_trial_during_storm, end_storm, suspect_storm
from app.store.connections import (
    Connection,
    TokenSet,
    change_connection,
    get_connection_with_tokens,
    lock_connection,
    publish_connection_event,
    store_tokens,
)
from app.store.enums import ConnectionStatus, EventType, RefreshCause, RefreshOutcome
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now, seconds_until
from app.store.refresh_attempts import end_attempt, mark_abandoned_attempts, start_attempt
from app.store.refused_connections import require_reauthorization
from app.store.tables import connections, refresh_attempts

# After a restart of the database, replicas with unsaved responses get this long to save them. Longer than the pauses
# between their attempts.
_GRACE_PERIOD_SECONDS = 5.0


class SaveResult(StrEnum):
    """What happened to new tokens that were to be saved."""

    STORED = "refreshed"
    LATER_CLAIM_IN_PROGRESS = "later_claim_in_progress"
    SUPERSEDED = "superseded"
    SUBJECT_MISMATCH = "subject_mismatch"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to present one refresh token until the lease ends."""

    tenant: str
    connection_id: str
    version: int
    fence: int
    cause: RefreshCause
    follows_unknown: bool
    failures: int
    refresh_token: SecretStr = field(repr=False)
    # When the claim was made, on the monotonic clock of the process that holds it.
    claimed_at: float = field(default=float("inf"), compare=False)
    # Whether the tokens of this version are bound to a key (RFC 9449): then those of the next version must be, too.
    is_bound: bool = False
    # Whether this is the one refresh of a minute that is tried during a storm of `invalid_grant`.
    is_trial: bool = False

    @property
    def audit_ids(self) -> dict[str, str]:
        """The ids that identify it in the audit log."""
        return {"connection_id": self.connection_id}


@dataclass(frozen=True, slots=True)
class NewTokens:
    """The tokens of the bank's response.

    `lifetime` is in seconds from when the request was sent, or None if it is unknown. `subject` is that of the
    response's id_token, if it has one.
    """

    tokens: TokenSet
    lifetime: int | None
    scopes: list[str] | None
    subject: str | None = None


async def claim_refresh(
    transaction: Transaction,
    key_ring: KeyRing,
    *,
    client: BankClient,
    tenant: str,
    connection_id: str,
    version: int,
    cause: RefreshCause,
    replica: str,
    lease: float,
) -> Claim | None:
    """Claim the refresh of `version` for `lease` seconds, and record the attempt.

    Returns None if another claim is valid, the version has changed, or the connection must wait or cannot be refreshed.
    Raises BankError with the code `invalid_grant_storm` during a storm.
    """
    # Locked first: the lease must not be computed before an UPDATE that then waits for the lock.
    if await lock_connection(transaction, tenant, connection_id) is None:
        return None
    fence = await _take_lease(transaction, client, connection_id, version, lease)
    if fence is None:
        return None
    with_tokens = await get_connection_with_tokens(transaction, key_ring, tenant, connection_id)
    if with_tokens is None or with_tokens.tokens is None or with_tokens.tokens.refresh_token is None:
        raise LookupError(f"{connection_id} is refreshable and has no refresh token")
    is_trial = await claim_trial_during_storm(transaction, client)
    follows_unknown = await mark_abandoned_attempts(transaction, connection_id, version)
    await start_attempt(
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
        with_tokens.connection.failures,
        with_tokens.tokens.refresh_token,
        is_bound=with_tokens.tokens.proof_key is not None,
        is_trial=is_trial,
    )


async def _take_lease(
    transaction: Transaction, client: BankClient, connection_id: str, version: int, lease: float
) -> int | None:
    """Increment the fence and take the lease of a locked connection, if it may be refreshed now. Return the new fence.

    An attempt without an outcome may have its response on the disk of its replica. If the database has only just
    restarted, that replica gets the time to save it first.
    """
    is_free = or_(connections.c.lease_until.is_(None), connections.c.lease_until <= func.clock_timestamp())
    is_due = or_(connections.c.retry_at.is_(None), connections.c.retry_at <= func.clock_timestamp())
    has_open_attempt = exists().where(
        refresh_attempts.c.connection_id == connection_id,
        refresh_attempts.c.version == version,
        refresh_attempts.c.outcome.is_(None),
    )
    is_past_grace_period = func.pg_postmaster_start_time() <= seconds_from_now(-_GRACE_PERIOD_SECONDS)
    updated = await transaction.execute(
        update(connections)
        .where(
            connections.c.id == connection_id,
            connections.c.issuer == client.issuer,
            connections.c.client_id == client.client_id,
            connections.c.version == version,
            connections.c.status == ConnectionStatus.ACTIVE,
            connections.c.refreshable,
            is_free,
            is_due,
            or_(is_past_grace_period, not_(has_open_attempt)),
        )
        .values(fence=connections.c.fence + 1, lease_until=seconds_from_now(lease))
        .returning(connections.c.fence)
    )
    fence: int | None = updated.scalar()
    return fence


async def save_refresh(
    transaction: Transaction, key_ring: KeyRing, claim: Claim, new: NewTokens, *, age: float
) -> SaveResult:
    """Save the tokens that replace those of `claim.version`, `age` seconds after they were requested.

    A response may be saved after its lease has ended, because the database was unavailable or a spool was replayed. As
    long as the connection still has the claim's version, the response has the only valid tokens, so it is saved, and a
    connection that requires reauthorization meanwhile is recovered. While a later claim is in progress, nothing is
    saved: that claim may have presented the same token to a bank that allows reuse, and then its response counts.
    """
    connection = await lock_connection(transaction, claim.tenant, claim.connection_id)
    if connection is None or connection.status is ConnectionStatus.REVOKED:
        await end_attempt(transaction, claim.connection_id, claim.fence, RefreshOutcome.REVOKED)
        return SaveResult.REVOKED
    if connection.version != claim.version:
        await end_attempt(transaction, claim.connection_id, claim.fence, RefreshOutcome.SUPERSEDED)
        return SaveResult.SUPERSEDED
    if connection.fence != claim.fence and await _is_leased(transaction, claim.connection_id):
        return SaveResult.LATER_CLAIM_IN_PROGRESS
    if new.subject is not None and new.subject != connection.subject:
        # Another user's tokens must never be used (OpenID Connect Core, section 12.2).
        await end_attempt(transaction, claim.connection_id, claim.fence, RefreshOutcome.SUBJECT_MISMATCH)
        await require_reauthorization(transaction, connection, RefreshOutcome.SUBJECT_MISMATCH)
        return SaveResult.SUBJECT_MISMATCH
    version = claim.version + 1
    await _store_new_version(transaction, key_ring, connection, claim, new, age=age)
    await end_attempt(transaction, claim.connection_id, claim.fence, RefreshOutcome.REFRESHED)
    if claim.is_trial:
        await end_storm(transaction, connection.bank_client)
    await publish_connection_event(transaction, EventType.CONNECTION_REFRESHED, connection, version=version)
    if connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED:
        await publish_connection_event(transaction, EventType.CONNECTION_RECOVERED, connection, version=version)
    return SaveResult.STORED


async def _store_new_version(
    transaction: Transaction, key_ring: KeyRing, connection: Connection, claim: Claim, new: NewTokens, *, age: float
) -> None:
    # Without a new refresh token in the response, the old one remains valid (RFC 6749 section 6).
    tokens = TokenSet(new.tokens.access_token, new.tokens.refresh_token or claim.refresh_token, new.tokens.proof_key)
    await store_tokens(
        transaction,
        key_ring,
        tenant=claim.tenant,
        connection_id=claim.connection_id,
        version=claim.version + 1,
        tokens=tokens,
    )
    await change_connection(
        transaction,
        claim.connection_id,
        status=ConnectionStatus.ACTIVE,
        reauthorization_reason=None,
        version=claim.version + 1,
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


async def fail_refresh(transaction: Transaction, claim: Claim, outcome: RefreshOutcome, *, retry_in: float) -> None:
    """Record an attempt without new tokens. The next one is made in `retry_in` seconds at the earliest.

    If the outcome is unknown, the lease is kept to its end, because the bank may still be processing the request.
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


async def record_invalid_grant(transaction: Transaction, claim: Claim) -> RefreshOutcome:
    """Require reauthorization after an `invalid_grant`, unless another refresh has succeeded or is in progress.

    After an attempt of unknown outcome, the reason is its lost response and not a withdrawn consent. During a storm,
    the connection stays active.
    """
    connection = await lock_connection(transaction, claim.tenant, claim.connection_id)
    if (
        connection is None
        or connection.status is not ConnectionStatus.ACTIVE
        or (connection.version, connection.fence) != (claim.version, claim.fence)
    ):
        await end_attempt(transaction, claim.connection_id, claim.fence, RefreshOutcome.SUPERSEDED)
        return RefreshOutcome.SUPERSEDED
    if not claim.follows_unknown and await suspect_storm(transaction, connection.bank_client, connection.id):
        await end_attempt(transaction, claim.connection_id, claim.fence, RefreshOutcome.INVALID_GRANT_STORM)
        await change_connection(
            transaction,
            claim.connection_id,
            lease_until=None,
            retry_at=seconds_from_now(TRIAL_INTERVAL_SECONDS),
            last_failure=RefreshOutcome.INVALID_GRANT_STORM,
        )
        return RefreshOutcome.INVALID_GRANT_STORM
    outcome = RefreshOutcome.OUTCOME_LOST if claim.follows_unknown else RefreshOutcome.INVALID_GRANT
    await end_attempt(transaction, claim.connection_id, claim.fence, outcome)
    await require_reauthorization(transaction, connection, outcome)
    return outcome


async def _is_leased(transaction: Transaction, connection_id: str) -> bool:
    query = select(seconds_until(connections.c.lease_until) > 0).where(connections.c.id == connection_id)
    return bool((await transaction.execute(query)).scalar())
