"""Reads the records of a connection from the broker's tables and spools."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import select

from app.base.encryption import KeyRing
from app.spool.refreshes import RefreshSpool
from app.store.connections import get_connection_with_tokens
from app.store.postgresql.database import Database, Transaction
from app.store.tables import audit_events, refresh_attempts

TENANT = "default"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A row of `refresh_attempts`."""

    version: int
    fence: int
    outcome: str | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that the broker has recorded about a connection. Tokens are shown as the bank's digests."""

    connection_id: str
    status: str
    reason: str | None
    version: int
    current_token: str | None
    spooled: frozenset[str] = frozenset()
    attempts: Sequence[Attempt] = ()
    audited: Sequence[int] = field(default=())
    """The versions in the audit events about refreshes, in the order of the audit."""


async def read_records(
    database: Database, key_ring: KeyRing, data_dirs: Iterable[Path], connection_ids: Sequence[str]
) -> list[Record]:
    """Read the records of these connections, all in one transaction."""
    spooled = defaultdict(set)
    for connection_id, token in _spooled(key_ring, data_dirs):
        spooled[connection_id].add(token)
    async with database.transaction() as transaction:
        attempts = await _attempts(transaction, connection_ids)
        audited = await _audited(transaction, connection_ids)
        records = []
        for connection_id in connection_ids:
            row = await get_connection_with_tokens(transaction, key_ring, TENANT, connection_id)
            assert row is not None, f"{connection_id} has vanished"
            refresh_token = row.tokens.refresh_token if row.tokens else None
            records.append(
                Record(
                    connection_id=connection_id,
                    status=row.connection.status,
                    reason=row.connection.reauthorization_reason,
                    version=row.connection.version,
                    current_token=digest(refresh_token) if refresh_token else None,
                    spooled=frozenset(spooled[connection_id]),
                    attempts=attempts[connection_id],
                    audited=audited[connection_id],
                )
            )
    return records


def digest(token: SecretStr) -> str:
    """Return the digest that identifies a token in the bank's ledger."""
    return sha256(token.get_secret_value().encode()).hexdigest()


def _spooled(key_ring: KeyRing, data_dirs: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for data_dir in data_dirs:
        for unsaved in RefreshSpool(data_dir / "spool", key_ring).entries():
            if unsaved.new.tokens.refresh_token:
                yield unsaved.claim.connection_id, digest(unsaved.new.tokens.refresh_token)


async def _attempts(transaction: Transaction, connection_ids: Sequence[str]) -> dict[str, list[Attempt]]:
    columns = [refresh_attempts.c[name] for name in Attempt.__dataclass_fields__]
    query = select(refresh_attempts.c.connection_id, *columns).where(
        refresh_attempts.c.connection_id.in_(connection_ids)
    )
    found = defaultdict(list)
    for connection_id, *values in await transaction.execute(query.order_by(refresh_attempts.c.fence)):
        found[connection_id].append(Attempt(*values))
    return found


async def _audited(transaction: Transaction, connection_ids: Sequence[str]) -> dict[str, list[int]]:
    query = select(audit_events.c.connection_id, audit_events.c.detail["version"].as_integer()).where(
        audit_events.c.connection_id.in_(connection_ids), audit_events.c.action == "connection.refreshed"
    )
    found = defaultdict(list)
    for connection_id, version in await transaction.execute(query.order_by(audit_events.c.id)):
        found[connection_id].append(version)
    return found
