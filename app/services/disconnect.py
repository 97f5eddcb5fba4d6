"""Disconnecting: unusable at once, revoked at the bank, erased here."""

import asyncio

from app.encryption import KeyRing
from app.errors import ConnectionNotFound
from app.services.background import BackgroundTasks
from app.services.consent import end_consent, revoke_waiting_answer
from app.services.revoker import Revoker
from app.store import audit
from app.store.connections import change_connection, connections_of_user, lock_connection
from app.store.database import Database
from app.store.sessions import delete_session, sessions_of_user

# The bank is told before the answer, if it takes no longer than so many seconds.
_PATIENCE = 1.0


class Disconnecting:
    """Ends connections for good. A tombstone stays, so that the id is never taken for unknown."""

    def __init__(self, *, database: Database, key_ring: KeyRing, revoker: Revoker, tasks: BackgroundTasks) -> None:
        self._tasks = tasks
        self._database = database
        self._key_ring = key_ring
        self._revoker = revoker

    async def disconnect(self, tenant: str, connection_id: str, *, actor: str) -> None:
        """End one connection; again is no error. Raises ConnectionNotFound."""
        async with self._database.transaction() as transaction:
            connection = await lock_connection(transaction, tenant, connection_id)
            if connection is None:
                raise ConnectionNotFound("there is no such connection")
            await end_consent(transaction, self._key_ring, connection, actor=actor, reason="disconnected")
        await self._revoke_soon([connection_id])

    async def erase_user(self, tenant: str, user_id: str, *, actor: str) -> None:
        """End all of a user's connections, and erase the sessions. Nothing to erase is no error."""
        async with self._database.transaction() as transaction:
            for session in await sessions_of_user(transaction, tenant, user_id):
                await revoke_waiting_answer(transaction, self._key_ring, session, reason="user_erased")
                await delete_session(transaction, session.id)
            connections = await connections_of_user(transaction, tenant, user_id)
            for connection in connections:
                await end_consent(transaction, self._key_ring, connection, actor=actor, reason="user_erased")
                await change_connection(transaction, connection.id, subject="", metadata={})
            await audit.record(transaction, tenant=tenant, actor=actor, action="user.erased")
        await self._revoke_soon([connection.id for connection in connections])

    async def _revoke_soon(self, connection_ids: list[str]) -> None:
        """Tell the bank now, if it listens; it goes on without us, and is told again until it has."""
        task = self._tasks.spawn(self._revoker.revoke_due(connection_ids), "revocation")
        await asyncio.wait({task}, timeout=_PATIENCE)
