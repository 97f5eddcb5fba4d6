"""Puts the services of connections together."""

from dataclasses import dataclass

from app.bank.bank import Bank
from app.connections.disconnect import Disconnecting
from app.connections.revocation_worker import Revoker
from app.connections.service import Connections
from app.core import Core
from app.refresh.tokens import Tokens


@dataclass(frozen=True, slots=True)
class ConnectionServices:
    """Reading, disconnecting and revoking connections."""

    service: Connections
    disconnect: Disconnecting
    revocation_worker: Revoker


def build(core: Core, bank: Bank, tokens: Tokens) -> ConnectionServices:
    """Build the services of one bank client."""
    revoker = Revoker(core, bank)
    return ConnectionServices(Connections(core, tokens=tokens), Disconnecting(core, revoker=revoker), revoker)
