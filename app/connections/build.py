"""Builds the connection services."""

from dataclasses import dataclass

from app.bank.bank import Bank
from app.connections.disconnect import Disconnector
from app.connections.revocation_worker import RevocationWorker
from app.connections.service import ConnectionService
from app.core import Core
from app.refresh.tokens import AccessTokens


@dataclass(frozen=True, slots=True)
class ConnectionServices:
    """Reading, disconnecting and revoking connections."""

    service: ConnectionService
    disconnect: Disconnector
    revocation_worker: RevocationWorker


def build(core: Core, bank: Bank, tokens: AccessTokens) -> ConnectionServices:
    """Build the services of one bank client."""
    revocation_worker = RevocationWorker(core, bank)
    return ConnectionServices(
        ConnectionService(core, tokens=tokens),
        Disconnector(core, revocation_worker=revocation_worker),
        revocation_worker,
    )
