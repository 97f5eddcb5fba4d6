"""Verifies the hash chain of the audit log, which reveals later changes.

Each event has an entry in `audit_chain`: its position, which has no gaps within the tenant, the hash of the previous
entry, and its own hash, the SHA-256 of that hash and of the event's content. `audit_heads` has each tenant's last
position and hash, so that entries missing at the end are noticed too. A database function deletes old events from the
start of the chain, after verifying them. `audit_checkpoints` then has the position and the hash that the rest continues
from.

A deferred trigger adds the entries when the transaction of the action commits. All writers of a tenant need the lock on
its head, and so it is acquired after every other lock and held only during the commit. A single chain for all tenants
would serialize them all. A transaction with events of several tenants must insert them ordered by tenant, or two such
transactions could deadlock. The entries are in a table of their own, so that an event's row is written once and never
updated.

What this protects against: the triggers refuse UPDATE, DELETE and TRUNCATE to accounts that cannot disable triggers,
and the chain reveals changes made by an account that can. An account with full access to the database can still
recompute the whole chain from the change on, or delete a tenant's chain together with its head. Only a head that was
noted outside the database reveals that: `broker audit verify` prints the heads, and compares them with given ones. An
event forged by someone who can write as the broker does is chained like any other.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Text, and_, cast, extract, func, select, text, union

from app.errors import InvalidRequest
from app.store.postgresql.database import Database, Transaction
from app.store.tables import audit_chain, audit_checkpoints, audit_events, audit_heads

START = "0" * 64
_BATCH = 2_000
_NOTED = re.compile(r"(.+):([1-9][0-9]{0,17}):([0-9a-f]{64})", re.DOTALL)
# What the trigger hashes, with the previous hash and the position of the entry, which are verified before.
_CONTENT = cast(
    func.jsonb_build_array(
        audit_chain.c.previous_hash,
        audit_chain.c.position,
        audit_events.c.id,
        audit_events.c.tenant,
        extract("epoch", audit_events.c.occurred_at),
        *(audit_events.c[name] for name in ("actor", "action", "session_id", "connection_id", "request_id", "detail")),
    ),
    Text,
)
_LINK = [
    *(audit_chain.c[name] for name in ("position", "previous_hash", "hash")),
    audit_events.c.id,
    _CONTENT.label("content"),
]


@dataclass(frozen=True, slots=True)
class Head:
    """The last position and hash of a tenant's chain, to be noted outside the database."""

    tenant: str
    position: int
    hash: str

    @classmethod
    def parse(cls, value: str) -> "Head":
        """Read `TENANT:POSITION:HASH`. Raises InvalidRequest."""
        noted = _NOTED.fullmatch(value)
        if noted is None:
            raise InvalidRequest("a noted head has the form TENANT:POSITION:HASH", code="invalid_head")
        return cls(noted[1], int(noted[2]), noted[3])

    def __str__(self) -> str:
        return f"{self.tenant}:{self.position}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Chain:
    """The result for one tenant: the chain is valid up to `intact`, where it ends or has the `fault`.

    Entries up to the position `removed` were deleted because of their age.
    """

    intact: Head
    fault: str | None = None
    fault_position: int | None = None
    removed: int = 0


async def verify(
    database: Database,
    *,
    tenant: str | None = None,
    noted: Sequence[Head] = (),
    on_batch: Callable[[int], None] = lambda _events: None,
) -> list[Chain]:
    """Verify the chain of a tenant, or of all, and compare it with noted heads. `on_batch` gets each batch's size.

    All tenants are read in one snapshot, so concurrent inserts do not matter.
    """
    async with database.transaction() as transaction:
        await transaction.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        tenants = await _tenants(transaction) if tenant is None else {tenant}
        return [
            await _Verification(transaction, name, [head for head in noted if head.tenant == name], on_batch).run()
            for name in sorted(tenants.union(head.tenant for head in noted))
        ]


async def _tenants(transaction: Transaction) -> set[str]:
    tenants = union(*(select(table.c.tenant) for table in (audit_heads, audit_chain, audit_events)))
    return set((await transaction.execute(tenants)).scalars())


class _Broken(Exception):
    """The next entry is missing or not valid."""


class _Verification:
    """Verifies one tenant's chain from its start to the first fault."""

    def __init__(
        self, transaction: Transaction, tenant: str, noted: Sequence[Head], on_batch: Callable[[int], None]
    ) -> None:
        self._transaction = transaction
        self._noted = {head.position: head.hash for head in noted}
        self._on_batch = on_batch
        self._last = Head(tenant, 0, START)
        self._removed = 0

    async def run(self) -> Chain:
        """Return how far the chain is valid."""
        try:
            await self._start()
            while links := await self._next_links():
                for link in links:
                    self._verify_link(link)
                self._on_batch(len(links))
            await self._check_end()
        except _Broken as broken:
            return Chain(self._last, str(broken), self._last.position + 1, self._removed)
        return Chain(self._last, removed=self._removed)

    async def _start(self) -> None:
        """Start at the checkpoint, if old events were deleted."""
        columns = audit_checkpoints.c
        query = select(columns.tenant, columns.position, columns.hash).where(columns.tenant == self._last.tenant)
        checkpoint = (await self._transaction.execute(query)).first()
        if checkpoint is not None:
            self._last = Head(*checkpoint)
            self._removed = self._last.position
            if any(position < self._removed for position in self._noted):
                raise _Broken("an entry that was noted has been removed for its age; note a later head")
            if self._noted.get(self._removed, self._last.hash) != self._last.hash:
                raise _Broken("the entry is not the one that was noted")

    async def _next_links(self) -> Sequence[Row[Any]]:
        query = (
            select(*_LINK)
            .outerjoin_from(audit_chain, audit_events, audit_chain.c.event_id == audit_events.c.id)
            .where(audit_chain.c.tenant == self._last.tenant, audit_chain.c.position > self._last.position)
            .order_by(audit_chain.c.position)
            .limit(_BATCH)
        )
        return (await self._transaction.execute(query)).all()

    def _verify_link(self, link: Row[Any]) -> None:
        if link.position != self._last.position + 1:
            raise _Broken("the entry is missing")
        if link.previous_hash != self._last.hash:
            raise _Broken("the entry does not continue from the one before it")
        if link.id is None:
            raise _Broken("the event was deleted")
        if hashlib.sha256(link.content.encode()).hexdigest() != link.hash:
            raise _Broken("the event was changed")
        if self._noted.get(link.position, link.hash) != link.hash:
            raise _Broken("the entry is not the one that was noted")
        self._last = Head(self._last.tenant, link.position, link.hash)

    async def _check_end(self) -> None:
        query = select(audit_heads.c.tenant, audit_heads.c.position, audit_heads.c.hash)
        head = (await self._transaction.execute(query.where(audit_heads.c.tenant == self._last.tenant))).first()
        end = max([*self._noted, head.position if head else 0])
        if end > self._last.position:
            raise _Broken(f"the chain was cut off; it went to {end} at least")
        if head is None:
            raise _Broken("the chain has no head" if self._last.position else "there is no audit of this tenant")
        if Head(*head) != self._last:
            raise _Broken("the head does not name the last entry")
        if (event_id := await self._unchained()) is not None:
            raise _Broken(f"the event with the id {event_id} was never chained, or its entry is gone")

    async def _unchained(self) -> int | None:
        query = (
            select(func.min(audit_events.c.id))
            .outerjoin_from(
                audit_events,
                audit_chain,
                and_(audit_chain.c.event_id == audit_events.c.id, audit_chain.c.tenant == audit_events.c.tenant),
            )
            .where(audit_events.c.tenant == self._last.tenant, audit_chain.c.event_id.is_(None))
        )
        found: int | None = (await self._transaction.execute(query)).scalar_one()
        return found
