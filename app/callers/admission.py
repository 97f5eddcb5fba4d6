"""Whether the caller of a request is still admitted: asked at its start, and again after everything that took time.

A request may wait for its body, for a database connection or for the bank. A caller whose key was revoked meanwhile
must not go on, so each request carries one `Admission` and confirms it after each wait.
"""

import time

from app.callers.authentication import Caller, CallerAuthenticator
from app.callers.permissions import Permission
from app.errors import UnauthorizedCaller
from app.store.callers import is_key_usable
from app.store.postgresql.database import Transaction

# How long an admission is valid without a further look, in seconds: a revoked caller is refused within this time.
ADMISSION_LIFETIME = 0.5


class Admission:
    """One request's caller, admitted until it is found to be revoked, disabled or expired.

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
        """The caller's id: the actor in the audit."""
        return self.caller.id

    @property
    def tenant(self) -> str:
        """The caller's tenant: the only rows that it can see."""
        return self.caller.tenant

    def require(self, permission: Permission) -> None:
        """Raise PermissionDenied unless the caller was granted `permission`."""
        self.caller.require(permission)

    async def confirm(self, transaction: Transaction | None = None) -> None:
        """Raise UnauthorizedCaller if the caller has been refused since the last look, at most 0.5 s ago.

        Within a transaction the database is asked through it: a second connection might never become free.
        """
        if time.perf_counter() - self._confirmed_at < ADMISSION_LIFETIME:
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
