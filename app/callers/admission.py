"""Checks that the caller of a request is still admitted: when the request starts, and again after each wait.

A request may wait for its body, for a database connection or for the bank. If the caller's key is revoked meanwhile,
the request must not continue. So each request carries an `Admission` and confirms it after each wait.
"""

import time

from app.callers.authentication import Caller, CallerAuthenticator
from app.callers.permissions import Permission
from app.errors import UnauthorizedCaller
from app.store.callers import is_key_usable
from app.store.postgresql.database import Transaction

# How long an admission is valid without another check: a revoked caller is rejected within this time.
ADMISSION_LIFETIME_SECONDS = 0.5


class Admission:
    """The caller of one request, admitted until it turns out to be revoked, disabled or expired.

    It is passed to `Database.transaction` as the requester, which confirms it at the start of each transaction.
    """

    __slots__ = ("_authenticator", "_authorization", "_confirmed_at", "caller")

    def __init__(self, caller: Caller, authenticator: CallerAuthenticator, authorization: str) -> None:
        self.caller = caller
        self._authenticator = authenticator
        self._authorization = authorization
        self._confirmed_at = time.perf_counter()

    @property
    def id(self) -> str:
        """The caller's id, which is the actor in the audit log."""
        return self.caller.id

    @property
    def tenant(self) -> str:
        """The caller's tenant. The caller sees no other tenant's rows."""
        return self.caller.tenant

    def require(self, permission: Permission) -> None:
        """Raise PermissionDenied unless the caller was granted `permission`."""
        self.caller.require(permission)

    async def confirm(self, transaction: Transaction | None = None) -> None:
        """Raise UnauthorizedCaller if the caller is no longer admitted. Checks at most every 0.5 s.

        Within a transaction the check uses that transaction: a second connection might never become free.
        """
        if time.perf_counter() - self._confirmed_at < ADMISSION_LIFETIME_SECONDS:
            return
        if transaction is None:
            await self._authenticator.authenticate(self._authorization)
        elif self.caller.key_id is None:
            self._authenticator.require_unexpired(self.caller)
        elif not await is_key_usable(transaction, self.caller.key_id):
            raise UnauthorizedCaller("the API key was revoked, or has expired, while the request waited")
        self._confirmed_at = time.perf_counter()


async def authenticate(authenticator: CallerAuthenticator, authorization: str) -> Admission:
    """Authenticate the `Authorization` header of a request. Raises UnauthorizedCaller."""
    return Admission(await authenticator.authenticate(authorization), authenticator, authorization)
