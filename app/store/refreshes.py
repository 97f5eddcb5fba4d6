"""The refresh protocol's two short transactions, claim and save, and its record of attempts.

`version` counts token generations, `fence` counts claims. A claim raises the fence and is committed before the bank
is called. A save is accepted where the version is still the one that was presented and no later claim is under way.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import SecretStr
from sqlalchemy import exists, func, insert, not_, or_, select, update

from app.encryption import KeyRing
from app.store.connections import (
    ConnectionStatus,
    TokenPair,
    change_connection,
    erase_tokens,
    hold,
    lock_connection,
    store_tokens,
)
from app.store.database import Transaction
from app.store.moments import from_now, seconds_until
from app.store.tables import connections, refresh_attempts


class Outcome(StrEnum):
    """How an attempt ended. Only `invalid_grant` ends the connection."""

    REFRESHED = "refreshed"
    INVALID_GRANT = "invalid_grant"
    OUTCOME_LOST = "refresh_outcome_lost"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"
    CLIENT_REFUSED = "invalid_client"
    RATE_LIMITED = "rate_limited"
    BANK_FAILED = "bank_failed"
    BAD_ANSWER = "bad_answer"
    REQUEST_REFUSED = "request_refused"
    SUPERSEDED = "superseded"
    SUBJECT_MISMATCH = "subject_mismatch"
    REVOKED = "revoked"


# After these the bank may have used the refresh token up, so a later `invalid_grant` is no word of the user's.
_POSSIBLY_SPENT = (Outcome.UNKNOWN, Outcome.BANK_FAILED, Outcome.BAD_ANSWER)


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


@dataclass(frozen=True, slots=True)
class NewTokens:
    """What the bank answered, ready to be stored. `lifetime` is in seconds, from when the request was sent.

    `subject` is whom the answer's id_token names, if it had one.
    """

    pair: TokenPair
    lifetime: int
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
    settled = or_(func.pg_postmaster_start_time() <= from_now(-_SETTLING_TIME), not_(abandoned))
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
        .values(fence=connections.c.fence + 1, lease_until=from_now(lease))
        .returning(connections.c.fence)
    )
    fence = raised.scalar()
    if fence is None:
        return None
    held = await hold(transaction, key_ring, connection_id)
    if held is None or held.tokens is None or held.tokens.refresh_token is None:
        raise LookupError(f"{connection_id} is refreshable and has no refresh token")
    follows_unknown = await _close_abandoned(transaction, connection_id, version)
    await transaction.execute(
        insert(refresh_attempts).values(
            tenant=tenant, connection_id=connection_id, version=version, fence=fence, cause=cause, replica=replica
        )
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


async def _close_abandoned(transaction: Transaction, connection_id: str, version: int) -> bool:
    """Mark attempts whose replica went away as unknown. True where one at this version may have reached the bank."""
    of_this_version = (refresh_attempts.c.connection_id == connection_id, refresh_attempts.c.version == version)
    await transaction.execute(
        update(refresh_attempts)
        .where(*of_this_version, refresh_attempts.c.outcome.is_(None))
        .values(outcome=Outcome.UNKNOWN, ended_at=func.now())
    )
    spent = exists().where(*of_this_version, refresh_attempts.c.outcome.in_(_POSSIBLY_SPENT))
    # Likewise where the version before was presented again after its answer, saved late, had been obtained.
    saved, later = refresh_attempts.alias(), refresh_attempts.alias()
    presented_again = exists().where(
        saved.c.connection_id == connection_id,
        saved.c.version == version - 1,
        saved.c.outcome == Outcome.REFRESHED,
        later.c.connection_id == connection_id,
        later.c.version == version - 1,
        later.c.fence > saved.c.fence,
        later.c.outcome.in_((*_POSSIBLY_SPENT, Outcome.OUTCOME_LOST, Outcome.SUPERSEDED)),
    )
    return bool((await transaction.execute(select(or_(spent, presented_again)))).scalar())


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
        await end_attempt(transaction, claim, Outcome.REVOKED)
        return Saved.REVOKED
    if connection.version != claim.version:
        await end_attempt(transaction, claim, Outcome.SUPERSEDED)
        return Saved.SUPERSEDED
    if connection.fence != claim.fence and await _is_leased(transaction, claim.connection_id):
        return Saved.LATER_CLAIM_UNDER_WAY
    if new.subject is not None and new.subject != connection.subject:
        # OpenID Connect Core 12.2: never go on with another user's data.
        await _require_consent(transaction, claim, Outcome.SUBJECT_MISMATCH)
        return Saved.SUBJECT_MISMATCH
    version = claim.version + 1
    # A bank that does not rotate sends no new refresh token, and the old one stays good (RFC 6749 section 6).
    pair = TokenPair(new.pair.access_token, new.pair.refresh_token or claim.refresh_token)
    await store_tokens(
        transaction,
        key_ring,
        tenant=claim.tenant,
        connection_id=claim.connection_id,
        version=version,
        pair=pair,
    )
    await change_connection(
        transaction,
        claim.connection_id,
        status=ConnectionStatus.ACTIVE,
        reauthorization_reason=None,
        version=version,
        access_token_expires_at=from_now(new.lifetime - age),
        access_token_lifetime=new.lifetime,
        scopes=connection.scopes if new.scopes is None else new.scopes,
        refreshable=True,
        lease_until=None,
        retry_at=None,
        failures=0,
        last_failure=None,
        last_refreshed_at=func.now(),
    )
    await end_attempt(transaction, claim, Outcome.REFRESHED)
    return Saved.STORED


async def fail_refresh(transaction: Transaction, claim: Claim, outcome: Outcome, *, retry_in: float) -> None:
    """Record an attempt that brought no tokens; nothing is tried again for `retry_in` seconds.

    Where the outcome is unknown the lease stays until its end, since the bank may still be at work on it.
    """
    connection = await lock_connection(transaction, claim.tenant, claim.connection_id)
    await end_attempt(transaction, claim, outcome)
    if connection is None or (connection.version, connection.fence) != (claim.version, claim.fence):
        return
    await change_connection(
        transaction,
        claim.connection_id,
        lease_until=connection.lease_until if outcome is Outcome.UNKNOWN else None,
        retry_at=connection.lease_until if outcome is Outcome.UNKNOWN else from_now(retry_in),
        failures=connection.failures + 1,
        last_failure=outcome,
    )


async def end_connection(transaction: Transaction, claim: Claim) -> Outcome:
    """Believe an `invalid_grant`, unless somebody else has succeeded or is at work meanwhile.

    After an attempt of unknown outcome the reason is that its answer was lost, not that the user withdrew.
    """
    connection = await lock_connection(transaction, claim.tenant, claim.connection_id)
    if (
        connection is None
        or connection.status is not ConnectionStatus.ACTIVE
        or (connection.version, connection.fence) != (claim.version, claim.fence)
    ):
        await end_attempt(transaction, claim, Outcome.SUPERSEDED)
        return Outcome.SUPERSEDED
    outcome = Outcome.OUTCOME_LOST if claim.follows_unknown else Outcome.INVALID_GRANT
    await _require_consent(transaction, claim, outcome)
    return outcome


async def _require_consent(transaction: Transaction, claim: Claim, reason: Outcome) -> None:
    await end_attempt(transaction, claim, reason)
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


async def end_attempt(transaction: Transaction, claim: Claim, outcome: Outcome) -> None:
    """Write down how the attempt ended; once it is known, a repeated save does not change it."""
    not_known = or_(refresh_attempts.c.outcome.is_(None), refresh_attempts.c.outcome == Outcome.UNKNOWN)
    await transaction.execute(
        update(refresh_attempts)
        .where(
            refresh_attempts.c.connection_id == claim.connection_id,
            refresh_attempts.c.fence == claim.fence,
            not_known,
        )
        .values(outcome=outcome, ended_at=func.now())
    )


async def rejections_within(transaction: Transaction, connection_id: str, seconds: float) -> int:
    """Count the refreshes of the last `seconds` whose cause was that the bank refused a token."""
    query = select(func.count()).where(
        refresh_attempts.c.connection_id == connection_id,
        refresh_attempts.c.cause == "rejected",
        refresh_attempts.c.outcome == Outcome.REFRESHED,
        refresh_attempts.c.started_at > from_now(-seconds),
    )
    return int((await transaction.execute(query)).scalar_one())


async def _is_leased(transaction: Transaction, connection_id: str) -> bool:
    query = select(seconds_until(connections.c.lease_until) > 0).where(connections.c.id == connection_id)
    return bool((await transaction.execute(query)).scalar())
