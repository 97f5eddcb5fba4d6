"""Disconnects connections: their tokens are erased at once, and then revoked at the bank."""

import asyncio

from app.callers.admission import Admission
from app.connections.revocation_worker import RevocationWorker
from app.connections.revoke import revoke_connection, revoke_stored_token_response
from app.core import Core
from app.errors import ConnectionNotFound, ConnectionRevoked
from app.store import audit
from app.store.connections import Connection, change_connection, lock_connection, lock_connections_of_user
from app.store.deliveries import erase_deliveries_of_user
from app.store.dependent_sessions import (
    delete_sessions,
    lock_sessions_awaiting_confirmation,
    lock_sessions_of_user,
)
from app.store.enums import SessionStatus
from app.store.interactions import erase_interactions_of_user
from app.store.postgresql.database import ForTenant, Transaction
from app.store.sessions import Session, end_session

# How long a call waits for the revocation at the bank, which continues afterwards.
_REVOCATION_TIMEOUT = 1.0  # seconds
_BATCH_SIZE = 500


class Disconnector:
    """Ends connections permanently. A tombstone remains, so that the id is still recognised."""

    def __init__(self, core: Core, *, revocation_worker: RevocationWorker, batch_size: int = _BATCH_SIZE) -> None:
        """`batch_size`: how many rows of a kind are erased in one transaction."""
        self._tasks = core.tasks
        self._database = core.database
        self._key_ring = core.key_ring
        self._revocation_worker = revocation_worker
        self._batch_size = batch_size
        self._erasures: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def disconnect(self, caller: Admission, connection_id: str) -> None:
        """End a connection. It may have ended already. Raises ConnectionNotFound."""
        tenant, actor = caller.tenant, caller.id
        async with self._database.transaction(caller) as transaction:
            sessions = await lock_sessions_awaiting_confirmation(transaction, tenant, connection_id)
            connection = await lock_connection(transaction, tenant, connection_id)
            if connection is None:
                raise ConnectionNotFound
            for session in sessions:
                await self._fail(transaction, session, actor=actor)
            await revoke_connection(transaction, self._key_ring, connection, actor=actor, reason="disconnected")
        await self._revoke_soon(tenant, [connection_id])

    async def _fail(self, transaction: Transaction, session: Session, *, actor: str) -> None:
        """End a login that can no longer be confirmed, and revoke its tokens, which would stay valid at the bank."""
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
        """End all connections of a user, and erase the user's sessions. There may be nothing to erase.

        A call that comes during an erasure waits for it and then starts another, because the running one may have
        missed rows. Calls that wait together share the next one: separate ones would wait for each other's row locks.
        """
        tenant, actor = caller.tenant, caller.id
        user = (tenant, user_id)
        if (running := self._erasures.get(user)) is not None:
            await asyncio.wait({running})
        task = self._erasures.get(user)
        if task is None:
            task = self._erasures[user] = self._tasks.spawn(self._erase(tenant, user_id, actor), "erasure of a user")
            task.add_done_callback(lambda _: self._erasures.pop(user, None))
        await asyncio.shield(task)

    async def _erase(self, tenant: str, user_id: str, actor: str) -> None:
        has_more = True
        while has_more:
            async with self._database.transaction(ForTenant(tenant)) as transaction:
                sessions = await lock_sessions_of_user(transaction, tenant, user_id, limit=self._batch_size)
                for session in sessions:
                    await revoke_stored_token_response(transaction, self._key_ring, session, reason="user_erased")
                await delete_sessions(transaction, [session.id for session in sessions])
                # Locked before their webhook queues, in the same order as elsewhere, so that no deadlock can occur.
                connections = await lock_connections_of_user(transaction, tenant, user_id)
                deliveries = await erase_deliveries_of_user(transaction, tenant, user_id, limit=self._batch_size)
                # The connections end with the last batch, because the events about their end must not be erased.
                has_more = max(len(sessions), deliveries) == self._batch_size
                if not has_more:
                    await self._end_connections(transaction, connections, tenant, user_id, actor)
        await self._revoke_soon(tenant, [connection.id for connection in connections])

    async def _end_connections(
        self, transaction: Transaction, connections: list[Connection], tenant: str, user_id: str, actor: str
    ) -> None:
        await erase_interactions_of_user(transaction, tenant, user_id)
        for connection in connections:
            await revoke_connection(transaction, self._key_ring, connection, actor=actor, reason="user_erased")
            await change_connection(transaction, connection.id, subject="", metadata={})
        await audit.record(transaction, "user.erased", tenant=tenant, actor=actor)

    async def _revoke_soon(self, tenant: str, connection_ids: list[str]) -> None:
        """Start the revocation at the bank, and wait for it briefly. It is retried until it succeeds."""
        revoking = self._revocation_worker.revoke_due(connection_ids, requester=ForTenant(tenant))
        task = self._tasks.spawn(revoking, "revocation")
        await asyncio.wait({task}, timeout=_REVOCATION_TIMEOUT)
