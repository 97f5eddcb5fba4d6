"""The link that a user opens: it binds the browser to the session and goes on to the bank."""

from pydantic import SecretStr

from app.encryption import KeyRing
from app.errors import InvalidRequest, NotFound
from app.randomness import digest, opaque_value, same
from app.store.database import Database
from app.store.sessions import SessionStatus, change_session, lock_session, session_binding


class ConnectLinks:
    """Opens links."""

    def __init__(self, *, database: Database, key_ring: KeyRing) -> None:
        self._database = database
        self._key_ring = key_ring

    async def binding_of(self, ticket: str) -> str:
        """Return what tells one login's cookie from another's in the same browser; empty for an unknown ticket."""
        async with self._database.transaction() as transaction:
            session = await lock_session(transaction, ticket_digest=digest(ticket))
        return session.stitch_state[:16] if session else ""

    async def open(self, ticket: str, browser: str | None) -> tuple[SecretStr, str]:
        """Bind a browser to the session of a ticket. Returns the bank's address and the browser's own secret.

        The first browser that opens the link keeps it. Raises NotFound for an unknown ticket, InvalidRequest for one
        that is used, expired or another browser's.
        """
        async with self._database.transaction() as transaction:
            session = await lock_session(transaction, ticket_digest=digest(ticket))
            if session is None:
                raise NotFound("this link is not known; ask for a new one", code="ticket_unknown")
            if session.status is not SessionStatus.PENDING or session.authorization_url is None:
                raise InvalidRequest("this link has been used or has expired; ask for a new one", code="ticket_used")
            if session.browser_digest is None:
                browser = opaque_value()
                await change_session(transaction, session.id, browser_digest=digest(browser))
            elif browser is None or not same(digest(browser), session.browser_digest):
                raise InvalidRequest(
                    "this link was opened in another browser; go on there, or ask for a new one", code="other_browser"
                )
        url = self._key_ring.decrypt(session.authorization_url, session_binding("authorization_url", session.id))
        return url, browser
