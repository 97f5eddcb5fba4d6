"""The link that a user opens: it binds the browser to the session and goes on to the bank."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import SecretStr

from app.bank.bank import Bank
from app.base.cache import ExpiringCache
from app.base.encryption import Ciphertext
from app.base.hashing import constant_time_equal, sha256_hex
from app.base.randomness import random_urlsafe_text
from app.core import Core
from app.errors import BankError, InvalidRequest, NotFound
from app.store.enums import SessionStatus
from app.store.postgresql.database import Transaction
from app.store.sessions import Session, change_session, lock_session_by_ticket, session_binding

KnownAs = Callable[[str], str | None]
# A link is pushed no more often than this, however often it is opened: pushing spends the broker's rate limit at the
# bank. Much less than a pushed request lives, and no longer than it takes to come back from a wrong turn. Seconds.
PUSH_INTERVAL = 5.0
_PUSHES = 4_096


@dataclass(frozen=True, slots=True)
class OpenedLink:
    """Where the browser goes on to, and the secret by which it is known in this login."""

    bank_url: SecretStr
    login: str
    browser: str = field(repr=False)


class ConnectLinks:
    """Opens links."""

    def __init__(self, core: Core, bank: Bank) -> None:
        self._database = core.database
        self._key_ring = core.key_ring
        self._authorization_endpoint = bank.authorization_endpoint
        self._pushed: ExpiringCache[str, SecretStr | BankError] = ExpiringCache(
            lifetime=PUSH_INTERVAL, size=_PUSHES, clock=core.clock
        )

    async def open(self, ticket: str, known_as: KnownAs) -> OpenedLink | Session:
        """Bind a browser to the session of a ticket; `known_as` tells the secret that it has in a login, if any.

        The first browser that opens the link keeps it, and gets the session once the login has gone on or ended.
        Raises NotFound for an unknown ticket, InvalidRequest for one that is used, expired or another browser's, and
        BankError, which binds nothing.
        """
        async with self._database.transaction() as transaction:
            session = await _admitting(transaction, ticket, known_as)
        if session.status is not SessionStatus.PENDING:
            return session
        url = await self._address(session)
        async with self._database.transaction() as transaction:
            session = await _admitting(transaction, ticket, known_as)
            if session.status is not SessionStatus.PENDING:
                return session
            login = login_of(session.stitch_state)
            browser = known_as(login)
            if browser is None or session.browser_digest is None:
                browser = random_urlsafe_text()
                await change_session(transaction, session.id, browser_digest=sha256_hex(browser))
        return OpenedLink(url, login, browser)

    async def _address(self, session: Session) -> SecretStr:
        """Return the bank's address; a pushed request is pushed anew, as the first one will not have lived so long."""
        sealed = session.pushed_parameters
        if sealed is None:
            assert session.authorization_url is not None
            return self._key_ring.decrypt(session.authorization_url, session_binding("authorization_url", session.id))
        address = self._pushed.get(session.id)
        if address is None:
            address = await self._pushed.load(session.id, lambda: self._push(session.id, sealed))
        if isinstance(address, BankError):
            raise address.with_traceback(None)
        return address

    async def _push(self, session_id: str, sealed: Ciphertext) -> SecretStr | BankError:
        """Return the failure, too: a bank that refuses is not asked more often than one that does not."""
        parameters = self._key_ring.decrypt(sealed, session_binding("pushed_parameters", session_id))
        try:
            return (await self._authorization_endpoint.url_for(parameters)).url
        except BankError as error:
            return error


def login_of(state_digest: str) -> str:
    """Name a login by its state, so that one browser may have several open without their secrets meeting."""
    return state_digest[:16]


async def _admitting(transaction: Transaction, ticket: str, known_as: KnownAs) -> Session:
    """Return the session that a ticket opens for this browser."""
    session = await lock_session_by_ticket(transaction, sha256_hex(ticket))
    if session is None:
        raise NotFound("this link is not known; ask for a new one", code="ticket_unknown")
    known, browser = session.browser_digest, known_as(login_of(session.stitch_state))
    if known is not None and browser is not None and constant_time_equal(sha256_hex(browser), known):
        return session
    if session.status is not SessionStatus.PENDING:
        became = "has expired" if session.status is SessionStatus.EXPIRED else "has been used"
        raise InvalidRequest(f"this link {became}; ask for a new one", code="ticket_used")
    if known is not None:
        raise InvalidRequest(
            "this link was opened in another browser; go on there, or ask for a new one", code="other_browser"
        )
    return session
