"""Disconnecting: unusable at once, revoked at the bank, erased here."""

import asyncio

from app.callers.admission import Admission
from app.connections.revocation_worker import RevocationWorker
from app.connections.revoke import revoke_connection, revoke_stored_token_response
from app.core import Core
from app.errors import ConnectionNotFound, ConnectionRevoked
from app.store import audit
from app.store.connections import Connection, change_connection, lock_connection, lock_connections_of_user
from app.store.deliveries import erase_deliveries_of_user
from app.store.enums import SessionStatus
from app.store.interactions import erase_interactions_of_user
from app.store.postgresql.database import ForTenant, Transaction
from app.store.sessions import (
    Session,
    delete_sessions,
    end_session,
    lock_sessions_awaiting_confirmation,
    lock_sessions_of_user,
)

# The bank is told before the answer, if it takes no longer than so many seconds.
_PATIENCE = 1.0
# So many rows of a kind are erased in one transaction.
_BATCH = 500


class Disconnector:
    """Ends connections for good. A tombstone stays, so that the id is never taken for unknown."""

    def __init__(self, core: Core, *, revoker: RevocationWorker) -> None:
        self._tasks = core.tasks
        self._database = core.database
        self._key_ring = core.key_ring
        self._revoker = revoker
        self._erasing: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def disconnect(self, caller: Admission, connection_id: str) -> None:
        """End one connection; again is no error. Raises ConnectionNotFound."""
        tenant, actor = caller.tenant, caller.id
        async with self._database.transaction(caller) as transaction:
            awaiting = await lock_sessions_awaiting_confirmation(transaction, tenant, connection_id)
            connection = await lock_connection(transaction, tenant, connection_id)
            if connection is None:
                raise ConnectionNotFound
            for session in awaiting:
                await self._call_off(transaction, session, actor=actor)
            await revoke_connection(transaction, self._key_ring, connection, actor=actor, reason="disconnected")
        await self._revoke_soon(tenant, [connection_id])

    async def _call_off(self, transaction: Transaction, session: Session, *, actor: str) -> None:
        """End a login that nobody can confirm any more, and its grant, which would live on at the bank."""
        await revoke_stored_token_response(transaction, self._key_ring, session, reason="disconnected")
        await end_session(transaction, session.id, SessionStatus.FAILED, error_code=ConnectionRevoked.default_code)
        await audit.record(
            transaction,
            "session.failed",
            of=session,
            actor=actor,
            connection_id=session.connection_id,
            error=ConnectionRevoked.default_code,
        )

    async def erase_user(self, caller: Admission, user_id: str) -> None:
        """End all of a user's connections, and erase the sessions. Nothing to erase is no error.

        Asked again meanwhile, one that begins after that is shared: each would only wait for the rows of the other.
        """
        tenant, actor = caller.tenant, caller.id
        user = (tenant, user_id)
        if (earlier := self._erasing.get(user)) is not None:
            await asyncio.wait({earlier})
        task = self._erasing.get(user)
        if task is None:
            task = self._erasing[user] = self._tasks.spawn(self._erase(tenant, user_id, actor), "erasure of a user")
            task.add_done_callback(lambda _: self._erasing.pop(user, None))
        await asyncio.shield(task)

    async def _erase(self, tenant: str, user_id: str, actor: str) -> None:
        is_much_left = True
        while is_much_left:
            async with self._database.transaction(ForTenant(tenant)) as transaction:
                sessions = await lock_sessions_of_user(transaction, tenant, user_id, limit=_BATCH)
                for session in sessions:
                    await revoke_stored_token_response(transaction, self._key_ring, session, reason="user_erased")
                await delete_sessions(transaction, [session.id for session in sessions])
                # Locked before their queues, as by whoever writes down what has become of a connection.
                connections = await lock_connections_of_user(transaction, tenant, user_id)
                deliveries = await erase_deliveries_of_user(transaction, tenant, user_id, limit=_BATCH)
                # With the last of what there may be ever so much of, as the word of their end must outlast it.
                is_much_left = max(len(sessions), deliveries) == _BATCH
                if not is_much_left:
                    await self._end(transaction, connections, tenant, user_id, actor)
        await self._revoke_soon(tenant, [connection.id for connection in connections])

    async def _end(
        self, transaction: Transaction, connections: list[Connection], tenant: str, user_id: str, actor: str
    ) -> None:
        await erase_interactions_of_user(transaction, tenant, user_id)
        for connection in connections:
            await revoke_connection(transaction, self._key_ring, connection, actor=actor, reason="user_erased")
            await change_connection(transaction, connection.id, subject="", metadata={})
        await audit.record(transaction, "user.erased", tenant=tenant, actor=actor)

    async def _revoke_soon(self, tenant: str, connection_ids: list[str]) -> None:
        """Tell the bank now, if it listens; it goes on without us, and is told again until it has."""
        task = self._tasks.spawn(self._revoker.revoke_due(connection_ids, requester=ForTenant(tenant)), "revocation")
        await asyncio.wait({task}, timeout=_PATIENCE)
