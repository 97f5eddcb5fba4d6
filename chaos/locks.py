"""Blocks a replica inside its transactions with locks in the database: at a row or at the commit."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from chaos.links import Link
from chaos.postgresql import PostgreSQL
from chaos.waiting import until

_KEY = 20_251_123
_FUNCTION = f"""CREATE OR REPLACE FUNCTION chaos_wait() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock({_KEY}); RETURN NULL; END'"""
_TRIGGER = """CREATE CONSTRAINT TRIGGER chaos_barrier AFTER {event} DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW {condition} EXECUTE FUNCTION chaos_wait()"""


class Barrier:
    """Blocks transactions until it is released."""

    def __init__(self, postgresql: PostgreSQL, waits: Sequence[str], release: Callable[[], Awaitable[object]]) -> None:
        """`waits` are the wait events of PostgreSQL that belong to this barrier, because other locks exist too."""
        self._postgresql = postgresql
        self._waits = list(waits)
        self._release = release

    async def reached(self, count: int = 1) -> None:
        """Return when `count` transactions are blocked."""
        connection = await self._postgresql.connect()

        async def are_blocked() -> bool:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = ANY($1)"
            return int(await connection.fetchval(query, self._waits)) >= count

        try:
            await until(f"{count} transactions to be blocked", are_blocked)
        finally:
            connection.terminate()

    async def release(self) -> None:
        """Let the transactions continue."""
        await self._release()


@asynccontextmanager
async def locked_row(postgresql: PostgreSQL, link: Link) -> AsyncIterator[Barrier]:
    """Lock the row of a connection, which blocks both its claims and its saves."""
    connection = await postgresql.connect()
    try:
        await connection.execute("BEGIN")
        await connection.execute("SELECT 1 FROM connections WHERE id = $1 FOR UPDATE", link.id)
        yield Barrier(postgresql, ("transactionid", "tuple"), lambda: connection.execute("ROLLBACK"))
    finally:
        connection.terminate()


def stopped_claims(postgresql: PostgreSQL) -> AbstractAsyncContextManager[Barrier]:
    """Block every claim in its COMMIT. Once released it takes effect, even if its client has died."""
    return _stopped_commits(
        postgresql, "refresh_attempts", _TRIGGER.format(event="INSERT ON refresh_attempts", condition="")
    )


def stopped_saves(postgresql: PostgreSQL) -> AbstractAsyncContextManager[Barrier]:
    """Block every save in its COMMIT, in the same way."""
    trigger = _TRIGGER.format(event="UPDATE ON connections", condition="WHEN (NEW.version > OLD.version)")
    return _stopped_commits(postgresql, "connections", trigger)


@asynccontextmanager
async def _stopped_commits(postgresql: PostgreSQL, table: str, trigger: str) -> AsyncIterator[Barrier]:
    connection = await postgresql.connect()
    try:
        await connection.execute(_FUNCTION)
        await connection.execute(trigger)
        await connection.execute("SELECT pg_advisory_lock($1)", _KEY)
        yield Barrier(postgresql, ("advisory",), lambda: connection.execute("SELECT pg_advisory_unlock_all()"))
    finally:
        await connection.execute("SELECT pg_advisory_unlock_all()")
        await connection.execute(f"DROP TRIGGER chaos_barrier ON {table}")
        connection.terminate()
