"""The brake on a storm of `invalid_grant`: if a bank suddenly refuses many connections, the refusals are not believed.

One row for each bank client, shared by all replicas. While `storm_since` is set, one refresh a minute is tried.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app.base.bank_client import BankClient
from app.errors import BankError
from app.store.enums import RefreshOutcome
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now, seconds_until
from app.store.tables import bank_clients as table
from app.store.tables import connections, refresh_attempts

# A storm is suspected once this many other connections were ended within this time.
_ENDED_BEFORE_STORM, _WINDOW_SECONDS = 5, 60.0
TRIAL_INTERVAL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Storm:
    """A storm of a bank client, and when it began."""

    client: BankClient
    since: datetime


def invalid_grant_storm(retry_after: float = TRIAL_INTERVAL_SECONDS) -> BankError:
    """Return the error of requests that need a refresh during a storm."""
    return BankError(
        "the bank suddenly refuses the refreshes of many connections; they are kept, and one is tried each minute",
        code="invalid_grant_storm",
        retry_after=max(retry_after, 1.0),
    )


async def claim_trial_during_storm(transaction: Transaction, client: BankClient) -> bool:
    """Return whether there is a storm, in which this refresh is then the trial of this minute.

    Raises BankError with the code `invalid_grant_storm` if there is a storm and it is not time for a trial.
    """
    query = select(table.c.storm_since.is_not(None).label("is_storm")).where(_is(client))
    if not (await transaction.execute(query)).scalar():
        return False
    is_due = or_(table.c.trial_at.is_(None), table.c.trial_at <= func.clock_timestamp())
    claimed = await transaction.execute(
        update(table)
        .where(_is(client), table.c.storm_since.is_not(None), is_due)
        .values(trial_at=seconds_from_now(TRIAL_INTERVAL_SECONDS))
    )
    if claimed.rowcount:
        return True
    left = select(seconds_until(table.c.trial_at)).where(_is(client), table.c.storm_since.is_not(None))
    seconds = (await transaction.execute(left)).scalar()
    raise invalid_grant_storm(1.0 if seconds is None else float(seconds))


async def suspect_storm(transaction: Transaction, client: BankClient, connection_id: str) -> bool:
    """Return whether an `invalid_grant` for this connection must not be believed. The first one sets `storm_since`.

    Locks the client's row, so that of concurrent refusals only the first few can end connections.
    """
    await transaction.execute(
        insert(table).values(issuer=client.issuer, client_id=client.client_id).on_conflict_do_nothing()
    )
    query = select(table.c.storm_since).where(_is(client)).with_for_update()
    if (await transaction.execute(query)).scalar() is not None:
        return True
    ended = (
        select(func.count(refresh_attempts.c.connection_id.distinct()))
        .join_from(refresh_attempts, connections, connections.c.id == refresh_attempts.c.connection_id)
        .where(
            refresh_attempts.c.outcome == RefreshOutcome.INVALID_GRANT,
            refresh_attempts.c.ended_at > seconds_from_now(-_WINDOW_SECONDS),
            refresh_attempts.c.connection_id != connection_id,
            connections.c.issuer == client.issuer,
            connections.c.client_id == client.client_id,
        )
    )
    if (await transaction.execute(ended)).scalar_one() < _ENDED_BEFORE_STORM:
        return False
    await transaction.execute(
        update(table)
        .where(_is(client))
        .values(storm_since=func.clock_timestamp(), trial_at=seconds_from_now(TRIAL_INTERVAL_SECONDS))
    )
    return True


async def end_storm(transaction: Transaction, client: BankClient) -> None:
    """End the storm of a client: its refreshes are claimed again."""
    await transaction.execute(update(table).where(_is(client)).values(storm_since=None, trial_at=None))


async def end_all_storms(transaction: Transaction) -> list[Storm]:
    """End the storms of all clients, and return them."""
    storms = await list_storms(transaction)
    await transaction.execute(update(table).values(storm_since=None, trial_at=None))
    return storms


async def list_storms(transaction: Transaction) -> list[Storm]:
    """Return the storms of all clients."""
    query = select(table).where(table.c.storm_since.is_not(None)).order_by(table.c.issuer, table.c.client_id)
    rows = await transaction.execute(query)
    return [Storm(BankClient(row.issuer, row.client_id), row.storm_since) for row in rows]


def _is(client: BankClient) -> ColumnElement[bool]:
    return and_(table.c.issuer == client.issuer, table.c.client_id == client.client_id)
