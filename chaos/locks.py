"""Stops a replica inside its transactions, from the database's side: at a row, or at the commit."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from chaos.links import Link
from chaos.postgresql import PostgreSQL
from chaos.waiting import until

_KEY = 20_251_123
_FUNCTION = f"""CREATE OR REPLACE FUNCTION chaos_wait() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock({_KEY}); RETURN NULL; END'"""
_TRAP = """CREATE CONSTRAINT TRIGGER chaos_trap AFTER {event} DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW {condition} EXECUTE FUNCTION chaos_wait()"""


class Trap:
    """What transactions run into, for as long as it is closed."""

    def __init__(self, postgresql: PostgreSQL, waits: Sequence[str], open_it: Callable[[], Awaitable[object]]) -> None:
        """`waits`: the names that PostgreSQL has for waiting here, since transactions wait for other locks too."""
        self._postgresql = postgresql
        self._waits = list(waits)
        self._open = open_it

    async def caught(self, count: int = 1) -> None:
        """Return when `count` transactions wait in it."""
        connection = await self._postgresql.connect()

        async def are_caught() -> bool:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = ANY($1)"
            return int(await connection.fetchval(query, self._waits)) >= count

        try:
            await until(f"{count} transactions to run into a lock", are_caught)
        finally:
            connection.terminate()

    async def open(self) -> None:
        """Let them go on."""
        await self._open()


@asynccontextmanager
async def locked_row(postgresql: PostgreSQL, link: Link) -> AsyncIterator[Trap]:
    """Hold the row of a connection, so that neither a claim nor a save gets past it."""
    connection = await postgresql.connect()
    try:
        await connection.execute("BEGIN")
        await connection.execute("SELECT 1 FROM connections WHERE id = $1 FOR UPDATE", link.id)
        yield Trap(postgresql, ("transactionid", "tuple"), lambda: connection.execute("ROLLBACK"))
    finally:
        connection.terminate()


def stopped_claims(postgresql: PostgreSQL) -> AbstractAsyncContextManager[Trap]:
    """Stop every claim in its COMMIT. Once it is let go it takes effect, whether or not its client still lives."""
    return _stopped_commits(
        postgresql, "refresh_attempts", _TRAP.format(event="INSERT ON refresh_attempts", condition="")
    )


def stopped_saves(postgresql: PostgreSQL) -> AbstractAsyncContextManager[Trap]:
    """Stop every save in its COMMIT, likewise."""
    trap = _TRAP.format(event="UPDATE ON connections", condition="WHEN (NEW.version > OLD.version)")
    return _stopped_commits(postgresql, "connections", trap)


@asynccontextmanager
async def _stopped_commits(postgresql: PostgreSQL, table: str, trap: str) -> AsyncIterator[Trap]:
    connection = await postgresql.connect()
    try:
        await connection.execute(_FUNCTION)
        await connection.execute(trap)
        await connection.execute("SELECT pg_advisory_lock($1)", _KEY)
        yield Trap(postgresql, ("advisory",), lambda: connection.execute("SELECT pg_advisory_unlock_all()"))
    finally:
        await connection.execute("SELECT pg_advisory_unlock_all()")
        await connection.execute(f"DROP TRIGGER chaos_trap ON {table}")
        connection.terminate()
