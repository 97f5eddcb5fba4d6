"""The sender of a query: a caller, represented by its `Admission`, or the broker itself."""

from dataclasses import dataclass
from typing import Protocol

from app.store.postgresql.database import Transaction


class Sender(Protocol):
    """Sends queries for one tenant. `app.callers.admission.Admission` is a sender."""

    @property
    def id(self) -> str:
        """The id of a caller, or of the broker."""
        ...

    @property
    def tenant(self) -> str:
        """The tenant whose connections can be used."""
        ...

    async def confirm(self, transaction: Transaction | None = None) -> None:
        """Raise UnauthorizedCaller if the caller is no longer admitted."""
        ...


@dataclass(frozen=True, slots=True)
class BrokerSender:
    """The broker itself, which sends queries of its own for a tenant."""

    id: str
    tenant: str

    async def confirm(self, transaction: Transaction | None = None) -> None:
        """Do nothing: the broker is always admitted."""
