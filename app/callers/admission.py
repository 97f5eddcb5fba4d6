"""Who sends a query, for as long as that takes."""

import time

from app.callers.authentication import Caller, CallerAuthenticator
from app.store.standing import SOON


class Asker:
    """Somebody who is never refused: the broker itself."""

    __slots__ = ("id", "tenant")

    def __init__(self, asker_id: str, tenant: str) -> None:
        self.id = asker_id
        self.tenant = tenant

    async def confirm(self) -> None:
        """Go on."""


class AskingCaller(Asker):
    """A caller who was let in, and who may be refused while something takes its time."""

    __slots__ = ("_authenticator", "_authorization", "_confirmed_at")

    def __init__(self, caller: Caller, authenticator: CallerAuthenticator, authorization: str) -> None:
        super().__init__(caller.id, caller.tenant)
        self._authenticator = authenticator
        self._authorization = authorization
        self._confirmed_at = time.perf_counter()

    async def confirm(self) -> None:
        """Raise UnauthorizedCaller where the caller was refused meanwhile."""
        if time.perf_counter() - self._confirmed_at > SOON:
            await self._authenticator.authenticate(self._authorization)
            self._confirmed_at = time.perf_counter()
