"""The queue of tokens to be revoked at the bank. A row is kept until the bank has confirmed the revocation."""

from dataclasses import dataclass, field

from pydantic import SecretStr
from sqlalchemy import and_, delete, func, insert, select, true, update

from app.base.bank_client import BankClient
from app.base.encryption import AssociatedData, KeyRing
from app.base.randomness import new_id
from app.errors import DecryptionError
from app.observability.logs import get_logger
from app.store.connections import TokenSet
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.postgresql.tenants import tenants_of
from app.store.tables import revocations as table

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Revocation:
    """One token to revoke (RFC 7009)."""

    id: str
    tenant: str
    attempts: int
    token_type_hint: str
    token: SecretStr = field(repr=False)


async def enqueue_revocation(
    transaction: Transaction,
    key_ring: KeyRing,
    *,
    tenant: str,
    client: BankClient,
    tokens: TokenSet,
    reason: str,
    connection_id: str | None = None,
    session_id: str | None = None,
) -> None:
    """Queue the refresh token, or the access token if there is none. `client` is the client that they were issued to.

    With a refresh token, the bank also revokes the access tokens of the same grant (RFC 7009 section 2.1).
    """
    row_id = new_id("rev")
    hint, token = (
        ("refresh_token", tokens.refresh_token) if tokens.refresh_token else ("access_token", tokens.access_token)
    )
    await transaction.execute(
        insert(table).values(
            id=row_id,
            tenant=tenant,
            issuer=client.issuer,
            client_id=client.client_id,
            connection_id=connection_id,
            session_id=session_id,
            token=key_ring.encrypt(token, _associated_data(row_id)),
            token_type_hint=hint,
            reason=reason,
        )
    )


async def claim_due_revocations(
    transaction: Transaction,
    key_ring: KeyRing,
    *,
    client: BankClient,
    lease: float,
    limit: int = 20,
    connection_ids: list[str] | None = None,
) -> list[Revocation]:
    """Return due revocations of a client, and hide them from other calls for `lease` seconds.

    Takes the oldest of each tenant before the second oldest of any, so that no tenant delays the others. If there are
    more tenants than `limit`, they are chosen at random. With `connection_ids`, only of these connections.
    """
    is_selected = true() if connection_ids is None else table.c.connection_id.in_(connection_ids)
    is_own = and_(table.c.issuer == client.issuer, table.c.client_id == client.client_id)
    is_due = and_(table.c.next_attempt_at <= func.clock_timestamp(), is_own, is_selected)
    names = tenants_of(table)
    rank = func.row_number().over(order_by=table.c.next_attempt_at).label("rank")
    oldest = (
        select(table.c.id, rank)
        .where(table.c.tenant == names.c.tenant, is_due)
        .order_by(table.c.next_attempt_at)
        .limit(limit)
        .lateral()
    )
    chosen = (
        select(oldest.c.id).select_from(names.join(oldest, true())).order_by(oldest.c.rank, func.random()).limit(limit)
    )
    due = select(table.c.id).where(table.c.id.in_(chosen), is_due).with_for_update(skip_locked=True)
    rows = await transaction.execute(
        update(table)
        .where(table.c.id.in_(due.scalar_subquery()))
        .values(next_attempt_at=seconds_from_now(lease), attempts=table.c.attempts + 1)
        .returning(table)
    )
    claimed: list[Revocation] = []
    for row in rows:
        try:
            token = key_ring.decrypt(row.token, _associated_data(row.id))
        except DecryptionError as error:
            # The row is kept and tried again after the lease, because its key may be configured again.
            logger.error("revocation_unreadable", revocation_id=row.id, detail=error.detail)  # noqa: TRY400
            continue
        claimed.append(Revocation(row.id, row.tenant, row.attempts, row.token_type_hint, token))
    return claimed


async def delete_revocation(transaction: Transaction, revocation_id: str) -> None:
    """Delete a revocation that the bank has confirmed."""
    await transaction.execute(delete(table).where(table.c.id == revocation_id))


async def postpone_revocation(transaction: Transaction, revocation_id: str, seconds: float) -> None:
    """Make a revocation due again in `seconds`."""
    await transaction.execute(
        update(table).where(table.c.id == revocation_id).values(next_attempt_at=seconds_from_now(seconds))
    )


async def count_revocations(transaction: Transaction) -> int:
    """Count the revocations that the bank has not confirmed."""
    return int((await transaction.execute(select(func.count()).select_from(table))).scalar_one())


def _associated_data(row_id: str) -> AssociatedData:
    return AssociatedData("revocations", "token", row_id)
