"""Opens connect links: binds the browser to the session and sends it to the bank."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import SecretStr

from app.bank.bank import Bank
from app.base.cache import ExpiringCache
from app.base.encryption import Ciphertext
from app.base.hashing import sha256_hex
from app.base.randomness import random_urlsafe_text
from app.core import Core
from app.errors import BankError
from app.login.browser_binding import is_bound_to, link_unknown, link_unusable, opened_in_another_browser
from app.store.enums import SessionStatus
from app.store.postgresql.database import Transaction
from app.store.session_secrets import session_associated_data
from app.store.sessions import Session, change_session, lock_session_by_ticket

SecretOf = Callable[[str], str | None]
# A link is pushed no more often than this, however often it is opened: pushing spends the broker's rate limit at the
# bank. Much less than a pushed request lives, and no longer than it takes to come back from a wrong turn. Seconds.
PUSH_INTERVAL = 5.0
_PUSHES = 4_096


@dataclass(frozen=True, slots=True)
class OpenedLink:
    """Where the browser goes next, and the secret by which it is recognised in this login."""

    bank_url: SecretStr
    login: str
    browser: str = field(repr=False)


class ConnectLinks:
    """Opens connect links."""

    def __init__(self, core: Core, bank: Bank, *, push_interval: float = PUSH_INTERVAL) -> None:
        self._database = core.database
        self._key_ring = core.key_ring
        self._own_client = bank.own_client
        self._authorization_endpoint = bank.authorization_endpoint
        self._pushed: ExpiringCache[str, SecretStr | BankError] = ExpiringCache(
            lifetime=push_interval, size=_PUSHES, clock=core.clock
        )

    async def open(self, ticket: str, secret_of: SecretOf, *, may_bind: bool = True) -> OpenedLink | Session | None:
        """Bind the link to this browser; return where it goes next, or the session if the login is no longer pending.

        `secret_of` returns the browser's secret for a login, if it has one. The first browser that opens the link
        keeps it. Without `may_bind`, returns None for a link that no browser has opened yet.

        Raises NotFound for an unknown ticket, InvalidRequest for one that was used, has expired or belongs to another
        browser, and BankError or BankClientMismatch, after which the link is still unbound.
        """
        async with self._database.transaction() as transaction:
            session = await _lock_session(transaction, ticket, secret_of)
        if session.status is not SessionStatus.PENDING:
            return session
        if session.browser_digest is None and not may_bind:
            return None
        self._own_client.require_session(session.bank_client)
        url = await self._authorization_url(session)
        async with self._database.transaction() as transaction:
            session = await _lock_session(transaction, ticket, secret_of)
            if session.status is not SessionStatus.PENDING:
                return session
            login = login_name(session.stitch_state)
            browser = secret_of(login)
            if browser is None or session.browser_digest is None:
                browser = random_urlsafe_text()
                await change_session(transaction, session.id, browser_digest=sha256_hex(browser))
        return OpenedLink(url, login, browser)

    async def _authorization_url(self, session: Session) -> SecretStr:
        """Return the URL at the bank. A pushed request is pushed again, since the first one will have expired."""
        sealed = session.pushed_parameters
        if sealed is None:
            assert session.authorization_url is not None
            return self._key_ring.decrypt(
                session.authorization_url, session_associated_data("authorization_url", session.id)
            )
        address = self._pushed.get(session.id)
        if address is None:
            address = await self._pushed.load(session.id, lambda: self._push(session.id, sealed))
        if isinstance(address, BankError):
            raise address.with_traceback(None)
        return address

    async def _push(self, session_id: str, sealed: Ciphertext) -> SecretStr | BankError:
        """Push the request. A failure is returned, so that it is cached and the bank is not asked more often."""
        parameters = self._key_ring.decrypt(sealed, session_associated_data("pushed_parameters", session_id))
        try:
            return (await self._authorization_endpoint.url_for(parameters)).url
        except BankError as error:
            return error


def login_name(state_digest: str) -> str:
    """Return a name for a login, for its cookie: one browser may have several logins open."""
    return state_digest[:16]


async def _lock_session(transaction: Transaction, ticket: str, secret_of: SecretOf) -> Session:
    """Lock and return the session of a link, if this browser may open it."""
    session = await lock_session_by_ticket(transaction, sha256_hex(ticket))
    if session is None:
        raise link_unknown()
    if is_bound_to(session.browser_digest, secret_of(login_name(session.stitch_state))):
        return session
    if session.status is not SessionStatus.PENDING:
        raise link_unusable("has expired" if session.status is SessionStatus.EXPIRED else "has been used")
    if session.browser_digest is not None:
        raise opened_in_another_browser()
    return session
