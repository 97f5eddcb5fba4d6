"""Confirms links: the caller sends the code that only the browser of its own logged-in user brought back."""

from pydantic import SecretStr

from app.base.hashing import constant_time_equal
from app.callers.admission import Admission
from app.connections.revoke import revoke_connection, revoke_stored_token_response
from app.core import Core
from app.errors import Conflict, ConnectionRevoked, UnprocessableRequest
from app.login.link_account import AccountLinker
from app.login.sessions import session_not_found
from app.store import audit
from app.store.connections import change_connection, lock_connection
from app.store.enums import ConnectionStatus, SessionStatus
from app.store.session_secrets import session_associated_data
from app.store.sessions import Session, end_session, get_session, lock_session


class Confirmations:
    """Confirms or expires sessions that wait for a confirmation."""

    def __init__(self, core: Core, *, account_linker: AccountLinker) -> None:
        self._database = core.database
        self._key_ring = core.key_ring
        self._account_linker = account_linker

    def code_of(self, session: Session) -> str | None:
        """Return the code that the session's browser takes to the app, or None if none is needed."""
        is_awaited = session.status is SessionStatus.AWAITING_CONFIRMATION and session.seconds_left > 0
        if session.confirmation_code is None or not is_awaited:
            return None
        binding = session_associated_data("confirmation_code", session.id)
        return self._key_ring.decrypt(session.confirmation_code, binding).get_secret_value()

    async def expire(self, session: Session) -> None:
        """End a session that was not confirmed in time. Its tokens are revoked and erased."""
        async with self._database.transaction() as transaction:
            current = await lock_session(transaction, session.id)
            if current is None or current.status is not SessionStatus.AWAITING_CONFIRMATION:
                return
            await revoke_stored_token_response(transaction, self._key_ring, current, reason="unconfirmed")
            if current.renews_connection_id is None and current.connection_id is not None:
                connection = await lock_connection(transaction, current.tenant, current.connection_id)
                if connection is not None:
                    await revoke_connection(
                        transaction, self._key_ring, connection, actor=audit.BROKER, reason="unconfirmed"
                    )
            await end_session(transaction, current.id, SessionStatus.EXPIRED, error_code="unconfirmed")
            await audit.record(transaction, "session.expired", of=current, connection_id=current.connection_id)

    async def confirm(self, caller: Admission, session_id: str, code: SecretStr) -> Session:
        """Activate the connection.

        Raises NotFound, Conflict if the session does not wait for a code, UnprocessableRequest if the code is wrong, or
        ConnectionRevoked.
        """
        async with self._database.transaction(caller) as transaction:
            if await get_session(transaction, session_id, tenant=caller.tenant) is None:
                raise session_not_found()
            session = await lock_session(transaction, session_id)
            if session is not None and session.error_code == ConnectionRevoked.default_code:
                raise ConnectionRevoked("the connection was revoked meanwhile")
            expected = self.code_of(session) if session else None
            if session is None or expected is None or session.seconds_left <= 0:
                raise nothing_to_confirm()
            if not constant_time_equal(code.get_secret_value(), expected):
                raise confirmation_code_wrong()
            assert session.connection_id is not None
            connection = await lock_connection(transaction, session.tenant, session.connection_id)
            if connection is None or connection.status is ConnectionStatus.REVOKED:
                raise ConnectionRevoked("the connection was revoked meanwhile")
            if session.renews_connection_id is not None:
                assert session.token_response is not None
                body = self._key_ring.decrypt(
                    session.token_response, session_associated_data("token_response", session.id)
                )
                await self._account_linker.renew(
                    transaction, session, connection, self._account_linker.tokens_of(session, body)
                )
            else:
                await change_connection(transaction, connection.id, status=ConnectionStatus.ACTIVE)
                await end_session(transaction, session.id, SessionStatus.COMPLETED)
            await audit.record(
                transaction, "session.confirmed", of=session, actor=caller.id, connection_id=connection.id
            )
            confirmed = await get_session(transaction, session_id)
        assert confirmed is not None
        return confirmed


def nothing_to_confirm() -> Conflict:
    """Return the error for the confirmation of a session that does not wait for one."""
    return Conflict("the session does not wait for a confirmation, or no longer does", code="nothing_to_confirm")


def confirmation_code_wrong() -> UnprocessableRequest:
    """Return the error for a wrong confirmation code."""
    return UnprocessableRequest("the confirmation_code is wrong", code="confirmation_code_wrong")
