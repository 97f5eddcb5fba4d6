"""Disconnecting: unusable at once, revoked at the bank, erased here."""

from app.encryption import KeyRing
from app.errors import ConnectionNotFound
from app.services.consent import end_consent, revoke_waiting_answer
from app.services.revoker import Revoker
from app.store import audit
from app.store.connections import change_connection, connections_of_user, lock_connection
from app.store.database import Database
from app.store.sessions import delete_session, sessions_of_user


class Disconnecting:
    """Ends connections for good. A tombstone stays, so that the id is never taken for unknown."""

    def __init__(self, *, database: Database, key_ring: KeyRing, revoker: Revoker) -> None:
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
        await self._revoker.revoke_due([connection_id])

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
        await self._revoker.revoke_due([connection.id for connection in connections])
