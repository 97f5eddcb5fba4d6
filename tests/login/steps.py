"""Steps of a login that several tests share."""

from app.store.enums import SessionStatus
from app.store.sessions import Session
from sandbox.client import SandboxClient
from tests.support.replica import Replica


async def codes_exchanged(bank: SandboxClient) -> int:
    return (await bank.ledger()).totals.codes_exchanged


async def exchanging(replica: Replica, bank: SandboxClient) -> Session:
    """Start a login, and return its session while the code is being exchanged."""
    session = await replica.log_in(bank)
    assert session.status is SessionStatus.EXCHANGING
    return session
