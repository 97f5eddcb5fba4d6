"""Interactions: visits of users to a page of the bank that needs their approval."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, case, delete, func, insert, literal, or_, select, update

from app.base.encryption import AssociatedData, Ciphertext
from app.store.enums import InteractionStatus
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now, seconds_from_transaction_start
from app.store.postgresql.notifications import interaction_topic, notify
from app.store.postgresql.records import columns_of, fetch_all, fetch_first, values_of
from app.store.tables import interactions as table


@dataclass(frozen=True, slots=True)
class Interaction:
    """One visit to the bank. `interaction_id` is the bank's id. If `has_expired`, the user did not return in time."""

    id: str
    tenant: str
    user_id: str
    connection_id: str
    interaction_id: str
    status: InteractionStatus
    has_expired: bool
    bank_url: Ciphertext | None
    ticket: Ciphertext | None
    ticket_digest: str
    browser_digest: str | None
    return_url: str | None
    created_at: datetime
    expires_at: datetime
    returned_at: datetime | None
    ended_at: datetime | None

    @property
    def audit_ids(self) -> dict[str, str]:
        """The ids that identify it in the audit log."""
        return {"connection_id": self.connection_id, "interaction_id": self.id}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInteraction:
    """A pending interaction to insert. `interaction_id` is the bank's."""

    id: str
    tenant: str
    user_id: str
    connection_id: str
    interaction_id: str
    bank_url: Ciphertext
    ticket: Ciphertext
    ticket_digest: str
    return_url: str | None

    @property
    def audit_ids(self) -> dict[str, str]:
        """The ids that identify it in the audit log."""
        return {"connection_id": self.connection_id, "interaction_id": self.id}


# A pending interaction reads as failed once its time is over. Its row is not changed for that.
_has_expired = and_(table.c.status == InteractionStatus.PENDING, table.c.expires_at <= func.now())
_INTERACTIONS = select(
    *columns_of(
        Interaction,
        table,
        status=case((_has_expired, literal(InteractionStatus.FAILED, table.c.status.type)), else_=table.c.status),
        ended_at=case((_has_expired, table.c.expires_at), else_=table.c.ended_at),
        has_expired=_has_expired,
    )
)


async def insert_interaction(transaction: Transaction, interaction: NewInteraction, *, seconds_to_live: int) -> None:
    """Insert a pending interaction."""
    await transaction.execute(
        insert(table).values(
            **values_of(interaction),
            status=InteractionStatus.PENDING,
            expires_at=seconds_from_transaction_start(seconds_to_live),
        )
    )


async def get_interaction(
    transaction: Transaction, interaction: str, *, tenant: str | None = None, connection_id: str | None = None
) -> Interaction | None:
    """Return an interaction. Without `tenant`, of any tenant and connection."""
    query = _INTERACTIONS.where(table.c.id == interaction)
    if tenant is not None:
        query = query.where(table.c.tenant == tenant, table.c.connection_id == connection_id)
    return await fetch_first(transaction, query, Interaction)


async def lock_interaction_by_ticket(transaction: Transaction, ticket_digest: str) -> Interaction | None:
    """Return the interaction of a link's ticket, given as its digest, and lock its row until the transaction ends."""
    query = _INTERACTIONS.where(table.c.ticket_digest == ticket_digest).with_for_update()
    return await fetch_first(transaction, query, Interaction)


async def interactions_of_browser(transaction: Transaction, browser_digests: list[str]) -> list[Interaction]:
    """Return the interactions that a browser has opened, newest first."""
    query = _INTERACTIONS.where(table.c.browser_digest.in_(browser_digests)).order_by(
        table.c.created_at.desc(), table.c.id
    )
    return await fetch_all(transaction, query, Interaction)


async def bind_interaction_to_browser(transaction: Transaction, interaction: str, browser_digest: str) -> None:
    """Record the browser that has opened an interaction's link."""
    await transaction.execute(update(table).where(table.c.id == interaction).values(browser_digest=browser_digest))


async def mark_interaction_returned(transaction: Transaction, interaction: str) -> None:
    """Record that the browser has come back from the bank."""
    await transaction.execute(update(table).where(table.c.id == interaction).values(returned_at=func.clock_timestamp()))


async def claim_status_check(transaction: Transaction, interaction: str, *, pause: float) -> bool:
    """Return whether to request the status from the bank now.

    That is if the user has returned, and no replica has claimed a check within the last `pause` seconds.
    """
    due = or_(table.c.status_checked_at.is_(None), table.c.status_checked_at <= seconds_from_now(-pause))
    claimed = await transaction.execute(
        update(table)
        .where(
            table.c.id == interaction, table.c.ended_at.is_(None), ~_has_expired, table.c.returned_at.is_not(None), due
        )
        .values(status_checked_at=seconds_from_now(0))
        .returning(table.c.id)
    )
    return claimed.first() is not None


async def end_interaction(transaction: Transaction, interaction: str, status: InteractionStatus) -> bool:
    """End a pending interaction and erase its secrets. Return False if it has already ended."""
    ended = await transaction.execute(
        update(table)
        .where(table.c.id == interaction, table.c.status == InteractionStatus.PENDING)
        .values(status=status, ended_at=func.now(), bank_url=None, ticket=None)
        .returning(table.c.id)
    )
    if ended.first() is None:
        return False
    await notify(transaction, interaction_topic(interaction))
    return True


async def erase_interactions_of_user(transaction: Transaction, tenant: str, user_id: str) -> None:
    """Delete a user's interactions."""
    await transaction.execute(delete(table).where(table.c.tenant == tenant, table.c.user_id == user_id))


def interaction_associated_data(column: str, interaction: str) -> AssociatedData:
    """Return what an interaction's encrypted column is bound to."""
    return AssociatedData("interactions", column, interaction)
