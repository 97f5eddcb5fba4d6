"""Creates connections without a browser, and expires their access tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import SecretStr
from sqlalchemy import select

from app.base.encryption import KeyRing
from app.base.randomness import new_id
from app.store.connections import NewConnection, TokenSet, change_connection, insert_connection, store_tokens
from app.store.enums import ConnectionStatus
from app.store.postgresql.database import Database
from app.store.postgresql.database_time import seconds_from_now
from app.store.revocations import count_revocations
from app.store.tables import connections, refresh_attempts
from chaos.bank import CLIENT_ID, SCOPES, Bank
from chaos.records import TENANT, digest


@dataclass(frozen=True, slots=True)
class Link:
    """A connection, and the first refresh token of its family at the bank."""

    id: str
    first_token: str


class Links:
    """Inserts connections into the broker's tables, with tokens that the bank has issued."""

    def __init__(self, database: Database, key_ring: KeyRing, bank: Bank) -> None:
        self._database = database
        self._key_ring = key_ring
        self._bank = bank

    async def make(self, count: int, *, seconds_left: float = -1) -> list[Link]:
        """Link `count` accounts whose access tokens expire in `seconds_left`, according to the broker."""
        made = []
        subject, grants = await self._bank.grant(count)
        async with self._database.transaction() as transaction:
            for grant in grants:
                tokens = TokenSet(SecretStr(grant["access_token"]), SecretStr(grant["refresh_token"]))
                assert tokens.refresh_token is not None
                link = Link(new_id("con"), digest(tokens.refresh_token))
                new_connection = NewConnection(
                    id=link.id,
                    tenant=TENANT,
                    issuer=self._bank.url,
                    client_id=CLIENT_ID,
                    user_id="chaos",
                    status=ConnectionStatus.ACTIVE,
                    subject=subject,
                    scopes=SCOPES.split(),
                    version=1,
                    refreshable=True,
                    access_token_expires_at=seconds_from_now(seconds_left),
                    access_token_lifetime=900,
                )
                await insert_connection(transaction, new_connection)
                await store_tokens(
                    transaction, self._key_ring, tenant=TENANT, connection_id=link.id, version=1, tokens=tokens
                )
                made.append(link)
        return made

    async def expire(self, link: Link) -> None:
        """Expire the access token, and notify the replicas."""
        async with self._database.transaction() as transaction:
            await change_connection(transaction, link.id, access_token_expires_at=seconds_from_now(-1))

    async def version(self, link: Link) -> int:
        """Return the current version."""
        async with self._database.transaction() as transaction:
            query = select(connections.c.version).where(connections.c.id == link.id)
            return int((await transaction.execute(query)).scalar_one())

    async def outcomes(self, links: Sequence[Link]) -> list[str | None]:
        """Return the outcomes of all attempts on these connections, in the order in which they began."""
        async with self._database.transaction() as transaction:
            query = (
                select(refresh_attempts.c.outcome)
                .where(refresh_attempts.c.connection_id.in_([link.id for link in links]))
                .order_by(refresh_attempts.c.id)
            )
            return list((await transaction.execute(query)).scalars())

    async def seconds_between_attempts(self, link: Link) -> float:
        """Return the time between the end of the first attempt and the start of the second, by the database's clock."""
        async with self._database.transaction() as transaction:
            query = (
                select(refresh_attempts.c.started_at, refresh_attempts.c.ended_at)
                .where(refresh_attempts.c.connection_id == link.id)
                .order_by(refresh_attempts.c.id)
            )
            first, second, *_ = await transaction.execute(query)
            return float((second.started_at - first.ended_at).total_seconds())

    async def count_revocations(self) -> int:
        """Count the revocations that were not sent to the bank yet."""
        async with self._database.transaction() as transaction:
            return await count_revocations(transaction)
