"""Who sends a query: a caller, by its `Admission`, or the broker itself."""

from dataclasses import dataclass
from typing import Protocol

from app.store.postgresql.database import Transaction


class Sender(Protocol):
    """Sends queries for one tenant. `app.callers.admission.Admission` is one."""

    @property
    def id(self) -> str:
        """The id of a caller, or of the broker."""
        ...

    @property
    def tenant(self) -> str:
        """The only tenant whose connections can be used."""
        ...

    async def confirm(self, transaction: Transaction | None = None) -> None:
        """Raise UnauthorizedCaller if the caller has been refused meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class BrokerSender:
    """The broker itself, asking the bank something for a tenant."""

    id: str
    tenant: str

    async def confirm(self, transaction: Transaction | None = None) -> None:
        """Go on: nobody refuses the broker."""
