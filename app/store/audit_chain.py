"""The chain of hashes over the audit: what makes a later change show.

Each event has a link in `audit_chain`: a position without gaps within its tenant, the hash of the link before, and its
own hash, the SHA-256 of that one and of all that the event says. `audit_heads` keeps each tenant's last position and
hash, so that a tail that was cut off is missed as well.

The links are made by a deferred trigger, when the transaction of the deed commits. So the head of the tenant's chain,
which all its writers must take turns at, is locked after every other lock and for no longer than the commit itself;
a chain over all tenants would have them all wait for each other. A transaction with events of several tenants writes
them in the order of the tenants, or two such could wait for each other. Links are a table of their own, so that an
event is written once and never touched again.

What this shows, and what not. The triggers refuse UPDATE, DELETE and TRUNCATE to everyone who may not switch them off,
and the chain shows what was done by someone who may. Whoever may do everything in the database can still compute the
whole chain anew from the change on, or remove a tenant's chain with its head. Only a head that was noted elsewhere
tells then: `broker audit verify` prints the heads, and compares with them when they are given to it. An event that was
invented by someone who can write as the broker does is chained like any other.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Text, cast, extract, func, select, text, union

from app.errors import InvalidRequest
from app.store.database import Database, Transaction
from app.store.tables import audit_chain, audit_events, audit_heads

START = "0" * 64
_BATCH = 2_000

# The same as in the trigger (migration 0002), but for what it begins with, which must be what was just verified.
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


@dataclass(frozen=True, slots=True)
class Head:
    """How far a tenant's chain goes, and the hash there: what is worth noting elsewhere."""

    tenant: str
    position: int
    hash: str

    @classmethod
    def parse(cls, value: str) -> "Head":
        """Read `TENANT:POSITION:HASH`. Raises InvalidRequest."""
        tenant, _, rest = value.rpartition(":")[0].rpartition(":")[0], "", value.rsplit(":", 2)[1:]
        try:
            position, found = rest
            if not tenant or len(bytes.fromhex(found)) != 32:
                raise ValueError(value)
            return cls(tenant, int(position), found.lower())
        except ValueError:
            raise InvalidRequest("a noted head has the form TENANT:POSITION:HASH") from None

    def __str__(self) -> str:
        return f"{self.tenant}:{self.position}:{self.hash}"
